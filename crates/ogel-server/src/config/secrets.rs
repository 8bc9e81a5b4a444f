//! Rules of the section `secrets`: where the keys are.

use super::{ConfigError, Secret, Secrets};

impl Secrets {
    /// The encryption keys, the one that seals first. Reads the file where there is one.
    pub fn keys(&self) -> Result<Vec<Secret>, ConfigError> {
        let mut keys = Vec::new();
        if !self.encryption_key.is_empty() {
            keys.push(self.encryption_key.clone());
        }
        if !self.encryption_key_file.is_empty() {
            let path = &self.encryption_key_file;
            let text =
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            keys.extend(lines.map(Secret::new));
        }
        keys.extend(self.older_encryption_keys.iter().filter(|key| !key.is_empty()).cloned());
        Ok(keys)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.encryption_key.is_empty() && !self.encryption_key_file.is_empty() {
            let problem =
                "and `secrets.encryption_key_file` are not set together: one of them says which key seals".to_owned();
            return Err(ConfigError::Invalid { key: "secrets.encryption_key", problem });
        }
        if self.encryption_key.is_empty() && self.encryption_key_file.is_empty() {
            let problem = "is not set; make one with `ogeld keys new`".to_owned();
            return Err(ConfigError::Invalid { key: "secrets.encryption_key", problem });
        }
        if self.keys()?.is_empty() {
            let problem = format!("names `{}`, which holds no key", self.encryption_key_file);
            return Err(ConfigError::Invalid { key: "secrets.encryption_key_file", problem });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_setting_or_a_file_and_older_ones_behind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# new\nnewest\n\n  older \n").unwrap();
        let path = file.path().display().to_string();
        let older = vec![Secret::new("oldest"), Secret::default()];
        let of =
            |secrets: &Secrets| secrets.keys().unwrap().iter().map(|key| key.expose().to_owned()).collect::<Vec<_>>();
        let by_file = Secrets { encryption_key_file: path.clone(), older_encryption_keys: older, ..Secrets::default() };
        assert_eq!(of(&by_file), ["newest", "older", "oldest"]);
        by_file.check().unwrap();
        let both = Secrets { encryption_key: Secret::new("x"), ..by_file.clone() };
        assert!(both.check().unwrap_err().to_string().contains("not set together"));
        std::fs::write(file.path(), "# nothing\n").unwrap();
        let nothing = Secrets { older_encryption_keys: Vec::new(), ..by_file };
        assert!(nothing.check().unwrap_err().to_string().contains("holds no key"));
        assert!(Secrets::default().check().unwrap_err().to_string().contains("ogeld keys new"));
        let absent = Secrets { encryption_key_file: "/nowhere/keys".to_owned(), ..Secrets::default() };
        assert!(absent.keys().unwrap_err().to_string().contains("/nowhere/keys"));
    }
}
