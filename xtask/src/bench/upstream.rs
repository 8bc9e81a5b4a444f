//! What stands behind every gateway: an nginx that answers like Ghost where a gateway has to be let in, and with a page
//! of sites (about a kilobyte of JSON) everywhere else. Next: `peers.rs`, the other gateways.

use std::net::SocketAddr;
use std::path::Path;

use crate::service::{Process, Service, free_address, program};
use crate::{Result, shell};

pub(crate) struct Upstream {
    service: Service,
    pub(crate) address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        // A dollar sign in nginx's texts begins a variable, so one variable holds a dollar sign.
        let text = format!(
            "geo $dollar {{ default \"$\"; }}
            server {{
                listen {address} backlog=4096;
                default_type application/json;
                client_max_body_size 0;
                location = /v1/users {{ return 201 '{user}'; }}
                location = /v1/account/sessions/jwt {{ return 201 '{jwt}'; }}
                location = /v1/projects {{ return 201 '{project}'; }}
                location ~ ^/v1/projects/[^/]+/members$ {{ return 201 '{member}'; }}
                location ~ ^/v1/projects/[^/]+/keys$ {{ return 201 '{key}'; }}
                location ~ ^/v1/projects/([^/]+)/sites$ {{
                    if ($request_method = POST) {{ return 201 '{site}'; }}
                    return 200 '{sites_of_one}';
                }}
                location / {{ return 200 '{sites}'; }}
            }}",
            user = document("u", r#""email":"bench@example.com","name":"Bench""#),
            // A token that Ghost would take until the year 2100.
            jwt = r#"{"jwt":"eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.c2lnbmF0dXJl"}"#,
            project = document("p", r#""name":"bench","region":"default""#),
            member = document("m", r#""role":"member""#),
            site = document(
                "01976f3a-6d00-7000-8000-000000000000",
                r#""name":"bench","projectId":"p","${dollar}updatedAt":"2026-01-01T00:00:00.000Z""#
            ),
            key = document("k", r#""secret":"standard_0123456789abcdef0123456789abcdef""#),
            sites_of_one = sites("$1"),
            sites = sites("01976f3a-0000-7000-8000-000000000000"),
        );
        let (service, _) = nginx("upstream", folder, 1, &text, address)?;
        Ok(Self { service, address })
    }

    pub(crate) fn process(&self) -> Process {
        self.service.process
    }
}

fn document(id: &str, rest: &str) -> String {
    format!(r#"{{"${{dollar}}id":"{id}",{rest},"${{dollar}}createdAt":"2026-01-01T00:00:00.000Z"}}"#)
}

/// A page as Ghost lists a project's sites.
fn sites(project: &str) -> String {
    let site = |number: u32| {
        format!(
            r#"{{"${{dollar}}id":"01976f3a-6d0{number}-7000-8000-0000000000{number}0","projectId":"{project}","name":"site-{number}","#
        ) + r#""framework":"vite","repoUrl":"https://git.example.com/acme/site.git","productionBranch":"main","#
            + r#""rootDirectory":null,"installCommand":null,"buildCommand":"npm run build","outputDirectory":"dist","#
            + r#""${dollar}createdAt":"2026-01-01T00:00:00.000Z","${dollar}updatedAt":"2026-01-01T00:00:00.000Z"}"#
    };
    let all: Vec<String> = (1..=3).map(site).collect();
    format!(r#"{{"total":3,"documents":[{}]}}"#, all.join(","))
}

/// An nginx of our own with these servers; answers with its access log's name as well.
pub(crate) fn nginx(
    name: &str,
    folder: &Path,
    workers: usize,
    servers: &str,
    address: SocketAddr,
) -> Result<(Service, String)> {
    let program = program("nginx").ok_or("nginx is not installed")?;
    let home = folder.join(name);
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let at = home.display();
    // As root nginx would give its workers to somebody who may not enter a private folder.
    let user = if shell::is_root() { "user root;" } else { "" };
    let text = format!(
        "{user} daemon off; worker_processes {workers}; worker_rlimit_nofile 60000; pid {at}/pid; error_log {at}/error.log crit;
        events {{ worker_connections 20000; }}
        http {{
            access_log off; keepalive_requests 100000000; keepalive_timeout 600s; http2_max_requests 100000000;
            client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
            uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
            {servers}
        }}"
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let command = [&*program.to_string_lossy(), "-c", &file.to_string_lossy(), "-e", "stderr"];
    let service = Service::start(name, home.join("log"), &command)?.listening(address)?;
    Ok((service, format!("{at}/access.log")))
}
