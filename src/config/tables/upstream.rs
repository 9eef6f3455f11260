//! How providers are reached, where their own tables have nothing else.

use crate::config::kinds::TIME;
use crate::config::model::Config;
use crate::config::setting::Setting;
use crate::config::shown::quoted_path;
use crate::config::table::{Layout, Table, as_written, at, example, kept, line};
use crate::config::trust::Trust;
use crate::config::written::Form;

pub(super) const UPSTREAM: Table = Table {
    name: "upstream",
    about: "without ca_file SSL_CERT_FILE and SSL_CERT_DIR (a list of folders) are heeded",
    layout: Layout {
        column: 51,
        margin: "#",
    },
    first: &["ca_file"],
    settings: &[
        Setting::new(
            "address_age",
            "30",
            line!("a name's addresses are asked for anew when older; 0 is always"),
            at!(address_age, TIME),
        ),
        Setting::new(
            "ca_file",
            "",
            example!(
                "\"/etc/ssl/certs/ca-certificates.crt\"",
                "roots, or a server's own certificate, in place of the system's"
            ),
            kept!(ca_file, Form::Text, as_written, |config: &Config| {
                match &config.trust {
                    Trust::File(file) => Some(quoted_path(&file.path)),
                    Trust::System | Trust::Environment(_) => None,
                }
            }),
        ),
        Setting::new(
            "client_cert",
            "",
            example!(
                "\"/etc/sluicegate/client.pem\"",
                "shown to providers that ask for one, PEM; read anew on SIGHUP"
            ),
            kept!(client_cert, Form::Text, as_written, |_: &Config| None),
        ),
        Setting::new(
            "client_key",
            "",
            example!("\"/etc/sluicegate/client.key\"", ""),
            kept!(client_key, Form::Text, as_written, |_: &Config| None),
        ),
        Setting::new(
            "proxy",
            "",
            example!(
                "\"http://user:password@proxy:3128\"",
                "for all providers, or \"none\"; also https://, socks5://\n\
                 and socks5h://; by default as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and\n\
                 NO_PROXY say, by the scheme of the base URL"
            ),
            kept!(proxy, Form::Text, as_written, |_: &Config| None),
        )
        .secret(),
        Setting::new(
            "proxy_ca_file",
            "",
            example!(
                "\"/etc/sluicegate/proxy.pem\"",
                "roots for https:// proxies, in place of ca_file"
            ),
            kept!(proxy_ca_file, Form::Text, as_written, |config: &Config| {
                match &config.proxy_trust {
                    Trust::File(file) if config.proxy_trust != config.trust => {
                        Some(quoted_path(&file.path))
                    }
                    _ => None,
                }
            }),
        ),
    ],
};
