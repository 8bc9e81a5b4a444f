//! The plans as data: `plans.toml` beside this file, or the operator's own (`billing.plans_file`).

use crate::config::{Config, ConfigError};
use ogel_api::{
    billing::{Metric, PlanDetails, PlanLimits, PlanUsage},
    organizations::Plan,
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// A hundred years of logs are all of them.
const MOST_DAYS: u64 = 36_500;

/// The file as it comes with the program.
pub const DEFAULT: &str = include_str!("plans.toml");

/// Prices and allowances beyond this would not be money or traffic any more, and sums stay far from overflowing.
const MOST: i64 = 1_000_000_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    currency: String,
    free: Row,
    pro: Row,
    team: Row,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    price: i64,
    deployments_per_day: u64,
    concurrent_builds: u64,
    build_log_days: u64,
    usage: BTreeMap<String, Allowance>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowance {
    included: i64,
    price: Option<i64>,
    #[serde(default = "one")]
    per: i64,
}

fn one() -> i64 {
    1
}

/// Every plan.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub currency: String,
    /// In the order of [`Plan::ALL`].
    plans: Vec<PlanDetails>,
}

impl Catalog {
    /// The plans of `billing.plans_file`, or those that come with the program, with the rates of `limits`.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        let path = &config.billing.plans_file;
        if path.is_empty() {
            return Self::parse(DEFAULT, config);
        }
        let text = std::fs::read_to_string(Path::new(path))
            .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        Self::parse(&text, config)
    }

    fn parse(text: &str, config: &Config) -> Result<Self, ConfigError> {
        let invalid = |problem: String| ConfigError::Invalid { key: "billing.plans_file", problem };
        let file: File = toml::from_str(text).map_err(|error| invalid(format!("cannot be read: {error}")))?;
        let File { currency, free, pro, team } = file;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid(format!("has the currency `{currency}`, which is no code such as `USD`")));
        }
        let limits = &config.limits;
        let rows = [
            (Plan::Free, free, limits.api_key_free),
            (Plan::Pro, pro, limits.api_key_pro),
            (Plan::Team, team, limits.api_key_team),
        ];
        let mut plans = Vec::new();
        for (plan, row, requests_per_window) in rows {
            let mut usage = Vec::new();
            for metric in Metric::ALL {
                let Some(allowance) = row.usage.get(metric.as_str()) else {
                    return Err(invalid(format!("says nothing of `usage.{metric}` for the plan `{plan}`")));
                };
                let &Allowance { included, price, per } = allowance;
                let range = 0..=MOST;
                if !range.contains(&included) || !range.contains(&price.unwrap_or(0)) || !(1..=MOST).contains(&per) {
                    return Err(invalid(format!("has a number out of range in `usage.{metric}` of the plan `{plan}`")));
                }
                usage.push(PlanUsage { metric: *metric, included, price, per });
            }
            if let Some(other) = row.usage.keys().find(|name| name.parse::<Metric>().is_err()) {
                return Err(invalid(format!("has `usage.{other}` for the plan `{plan}`, which is not metered")));
            }
            if !(0..=MOST).contains(&row.price) || (plan == Plan::Free && row.price != 0) {
                return Err(invalid(format!("has the price {} for the plan `{plan}`", row.price)));
            }
            if !(1..=MOST_DAYS).contains(&row.build_log_days) {
                return Err(invalid(format!("has `build_log_days` out of 1 to {MOST_DAYS} for the plan `{plan}`")));
            }
            let limits = PlanLimits {
                requests_per_window,
                window_seconds: limits.window_seconds.clamp(1, 3600),
                deployments_per_day: row.deployments_per_day,
                concurrent_builds: row.concurrent_builds,
                build_log_days: row.build_log_days,
            };
            plans.push(PlanDetails {
                plan,
                name: row.name,
                price: row.price,
                currency: currency.clone(),
                limits,
                usage,
            });
        }
        Ok(Self { currency, plans })
    }

    /// For a configuration that was not checked: what cannot be read is replaced by what comes with the program.
    pub(crate) fn load_or_default(config: &Config) -> Self {
        Self::load(config)
            .or_else(|_| Self::parse(DEFAULT, config))
            .expect("the plans that come with the program are tested")
    }

    pub fn all(&self) -> &[PlanDetails] {
        &self.plans
    }

    /// One plan; the first for a word this build does not know.
    pub fn plan(&self, plan: Plan) -> &PlanDetails {
        self.plans.iter().find(|row| row.plan == plan).unwrap_or(&self.plans[0])
    }
}

/// What a plan includes and sells of a metric.
pub(crate) fn usage_of(plan: &PlanDetails, metric: Metric) -> Option<&PlanUsage> {
    plan.usage.iter().find(|usage| usage.metric == metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Catalog::parse(text, &Config::default()).unwrap_err().to_string()
    }

    #[test]
    fn the_plans_that_come_with_the_program_are_complete_and_take_their_rates_from_the_limits() {
        let mut config = Config::default();
        config.limits.api_key_pro = 123;
        let catalog = Catalog::parse(DEFAULT, &config).unwrap();
        assert_eq!(catalog.all().iter().map(|row| row.plan).collect::<Vec<_>>(), Plan::ALL);
        assert_eq!(catalog.plan(Plan::Pro).limits.requests_per_window, 123);
        assert!(catalog.all().iter().all(|row| row.usage.len() == Metric::ALL.len()));
        // A dearer plan includes more of everything.
        for pair in catalog.all().windows(2) {
            assert!(pair[0].price < pair[1].price);
            assert!(pair[0].usage.iter().zip(&pair[1].usage).all(|(less, more)| less.included < more.included));
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        assert!(error("").contains("`billing.plans_file` cannot be read"));
        assert!(error(&DEFAULT.replace("USD", "Dollars")).contains("currency `Dollars`"));
        assert!(
            error(&DEFAULT.replace("usage.deployments", "usage.deploys")).contains("`usage.deployments` for the plan")
        );
        assert!(error(&DEFAULT.replacen("price = 0\n", "price = 5\n", 1)).contains("price 5 for the plan `free`"));
        assert!(error(&DEFAULT.replace("per = 60", "per = 0")).contains("`usage.buildSeconds` of the plan `pro`"));
        assert!(error(&DEFAULT.replacen("build_log_days = 30", "build_log_days = 0", 1)).contains("the plan `pro`"));
        assert!(error(&DEFAULT.replacen("build_log_days = 7\n", "", 1)).contains("build_log_days"));
        let more = DEFAULT.replacen("usage.requests", "usage.votes = { included = 1 }\nusage.requests", 1);
        assert!(error(&more).contains("`usage.votes` for the plan `free`, which is not metered"));
    }
}
