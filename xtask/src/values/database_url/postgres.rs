//! PostgreSQL URLs, taken apart once and put together twice: for sqlx and for libpq.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::super::failure::Failure;
use super::super::words::on_one_line;
use super::not_a_url;

/// A password: never shown, also not by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// In the order in which they are tried; empty: the environment's or libpq's default.
    pub hosts: Vec<PostgresHost>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: Option<String>,
    /// `options`, in libpq's form: `-c name=value …`.
    pub options: Option<String>,
    /// The other parameters that libpq and sqlx both know, in libpq's spelling.
    pub shared: Vec<(String, String)>,
    /// The parameters that only libpq knows.
    pub libpq: Vec<(String, String)>,
    /// Whether one may hold a secret: `options`, and those that nobody knows.
    pub has_opaque: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostgresHost {
    /// Host name, address, or a socket folder (begins with `/`).
    pub host: Option<String>,
    pub port: Option<u16>,
}

/// Known to libpq and not to sqlx; harmless to the one that does not know them.
const LIBPQ_ONLY: [&str; 16] = [
    "channel_binding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "require_auth",
    "sslcompression",
    "sslcrl",
    "sslsni",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "tcp_user_timeout",
];

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// What follows is then no parameter, and what came before it is taken for a host.
const UNENCODED_QUESTION_MARK: &str =
    "a `?` in the password must be percent-encoded (`%3F`), and an `@` behind `?` too (`%40`)";

fn is_of_a_parameter(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.[]".contains(c)
}

impl PostgresUrl {
    /// `rest` is what follows the scheme's colon.
    pub fn parse(rest: &str) -> Result<PostgresUrl, Failure> {
        let rest = rest
            .strip_prefix("//")
            .ok_or_else(|| not_a_url("`//` is missing"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A raw `/` or `@` there is mostly the rest of a password, and the name is shown.
        if path.contains(['/', '@']) {
            return Err(not_a_url(
                "a `/` or `@` in the password or in the database's name must be \
                 percent-encoded (`%2F`, `%40`)",
            ));
        }
        if !rest.contains('/') && query.contains('@') {
            return Err(not_a_url(UNENCODED_QUESTION_MARK));
        }
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (user_info, hosts),
            None => ("", authority),
        };
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(Secret(decode(password)?))),
            None => (user_info, None),
        };
        let mut url = PostgresUrl {
            hosts: parse_hosts(hosts)?,
            user: non_empty(decode(user)?),
            password,
            database: non_empty(decode(path)?),
            options: None,
            shared: Vec::new(),
            libpq: Vec::new(),
            has_opaque: false,
        };
        // Not `form_urlencoded`: libpq leaves `+` alone, and so does a password.
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| not_a_url("a parameter after `?` has no `=`"))?;
            let key = decode(key)?;
            if !key.chars().all(is_of_a_parameter) {
                return Err(not_a_url(UNENCODED_QUESTION_MARK));
            }
            url.set(&key, decode(value)?)?;
        }
        if url
            .password
            .as_ref()
            .is_some_and(|p| p.expose().contains(['\n', '\r']))
        {
            return Err(not_a_url(
                "the password holds a line break, which no passfile can hold",
            ));
        }
        Ok(url)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), Failure> {
        match key {
            "host" | "hostaddr" => {
                let ports: Vec<_> = self.hosts.iter().map(|h| h.port).collect();
                self.hosts = value
                    .split(',')
                    .enumerate()
                    .map(|(i, host)| PostgresHost {
                        host: non_empty(host.to_owned()),
                        port: ports.get(i).or(ports.last()).copied().flatten(),
                    })
                    .collect();
            }
            "port" => self.set_ports(&value)?,
            "user" => self.user = non_empty(value),
            "password" => self.password = Some(Secret(value)),
            "dbname" => self.database = non_empty(value),
            // sqlx reads `+` as a space here, and no server option needs a `+`.
            "options" => {
                self.has_opaque = true;
                self.add_options(&value.replace('+', " "));
            }
            "sslmode" | "ssl-mode" if SSL_MODES.contains(&value.as_str()) => {
                self.shared.push(("sslmode".into(), value));
            }
            "sslmode" | "ssl-mode" => {
                let known = SSL_MODES.join(", ");
                return Err(not_a_url(&format!("`sslmode` is one of {known}")));
            }
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => {
                self.shared.push(("sslrootcert".into(), value));
            }
            "sslcert" | "ssl-cert" => self.shared.push(("sslcert".into(), value)),
            "sslkey" | "ssl-key" => self.shared.push(("sslkey".into(), value)),
            "application_name" => self.shared.push(("application_name".into(), value)),
            "service" | "passfile" | "sslpassword" => {
                return Err(not_a_url(&format!(
                    "sqlx does not read the parameter `{key}`; `PGPASSFILE` and `PGPASSWORD` work"
                )));
            }
            // Each session goes to the first host that answers, and a backup of a
            // standby with a migration of its primary would be two databases.
            "target_session_attrs" if value != "any" => {
                return Err(not_a_url(
                    "`target_session_attrs` is not supported: name the primary's host alone",
                ));
            }
            "target_session_attrs" => {}
            key if LIBPQ_ONLY.contains(&key) => self.libpq.push((key.into(), value)),
            key => {
                self.has_opaque = true;
                if let Some(name) = key
                    .strip_prefix("options[")
                    .and_then(|k| k.strip_suffix(']'))
                {
                    self.add_options(&format!("-c {name}={}", escape_option(&value)));
                } else if key.starts_with("ssl") {
                    // A mistyped one would switch the encryption off without a word.
                    return Err(not_a_url(&format!("there is no parameter `{key}`")));
                }
                // Anything else belongs to some other client (`pgbouncer`, `schema`,
                // `connection_limit`, …); sqlx passes over it, and libpq would refuse it.
            }
        }
        Ok(())
    }

    fn set_ports(&mut self, value: &str) -> Result<(), Failure> {
        let ports = value
            .split(',')
            .map(parse_port)
            .collect::<Result<Vec<_>, _>>()?;
        if self.hosts.is_empty() {
            self.hosts.push(PostgresHost::default());
        }
        for (i, host) in self.hosts.iter_mut().enumerate() {
            host.port = ports.get(i).or(ports.last()).copied().flatten();
        }
        Ok(())
    }

    fn add_options(&mut self, more: &str) {
        match &mut self.options {
            Some(options) => {
                options.push(' ');
                options.push_str(more);
            }
            None => self.options = Some(more.to_owned()),
        }
    }
}

/// A value inside `options`: libpq splits at spaces that no backslash precedes.
fn escape_option(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

fn decode(text: &str) -> Result<String, Failure> {
    let text = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| not_a_url("it is not UTF-8 after percent-decoding"))?;
    // What follows it would be the next parameter of PostgreSQL's protocol.
    if text.contains('\0') {
        return Err(not_a_url("it holds a NUL after percent-decoding"));
    }
    Ok(text.into_owned())
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn parse_hosts(hosts: &str) -> Result<Vec<PostgresHost>, Failure> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    hosts.split(',').map(parse_host).collect()
}

fn parse_host(text: &str) -> Result<PostgresHost, Failure> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed
                .split_once(']')
                .ok_or_else(|| not_a_url("`[` of an IPv6 address is not closed"))?;
            (address, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(not_a_url(
                    "a host holds more than one `:`, and no `[…]` around them",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(None), parse_port)?;
    Ok(PostgresHost {
        host: non_empty(decode(host)?),
        port,
    })
}

fn parse_port(text: &str) -> Result<Option<u16>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| not_a_url("the port is not a number from 0 to 65535"))
}

impl PostgresUrl {
    /// A URL for another database of the same server, fit for libpq and for a screen.
    pub fn without_password(&self, database: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!("postgres:///{}", encode(database));
        let hosts: Vec<_> = self
            .hosts
            .iter()
            .filter_map(|host| host.host.as_deref())
            .collect();
        let ports: Vec<_> = self.hosts.iter().filter_map(|host| host.port).collect();
        let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
        let user = self.user.as_deref().unwrap_or_default();
        let (hosts, ports) = (hosts.join(","), ports.join(","));
        let pairs = [("host", hosts.as_str()), ("port", &ports), ("user", user)];
        let pairs: Vec<_> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| format!("{key}={}", encode(value)))
            .collect();
        if !pairs.is_empty() {
            url = format!("{url}?{}", pairs.join("&"));
        }
        url
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", on_one_line(user))?;
        }
        for (i, host) in self.hosts.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let name = on_one_line(host.host.as_deref().unwrap_or(""));
            write!(f, "{comma}{name}")?;
            host.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        }
        let database = self.database.as_deref().unwrap_or("");
        write!(f, "/{}", on_one_line(database))
    }
}
