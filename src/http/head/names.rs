//! The field names that the gateway knows (RFC 9110, section 5.1), and what it makes of each; all others are only passed
//! on.
//!
//! Whatever is decided of a field by its name is decided here, in a column of its own. Rewriting, trailers,
//! authentication, what is known again, what may be configured and how names are looked up are made of this table: a new
//! name is a new row, which leaves no column out.

mod lookup;

pub(in crate::http) use lookup::Folded;
pub(crate) use lookup::name;

/// Makes [`Name`], a list of all names and one of their spellings, and a function for each column.
macro_rules! names {
    ($($(#[$attribute:meta])* $name:ident [$($spelling:literal)*]
        $request:ident $response:ident $trailer:ident $marks:ident $setting:ident $value:ident)*) => {
        /// Field names that mean something to the gateway; compared without regard to case.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Name {
            $($(#[$attribute])* #[doc = concat!($("`", $spelling, "` "),*)] $name,)*
        }

        const ALL: &[Name] = &[$(Name::$name),*];

        /// In small letters. What ends in a hyphen is the beginning of any number of names.
        const SPELLINGS: &[(&str, Name)] = &[$($(($spelling, Name::$name),)*)*];

        impl Name {
            const fn in_requests(self) -> InRequests {
                match self { $(Self::$name => InRequests::$request,)* }
            }

            const fn in_responses(self) -> InResponses {
                match self { $(Self::$name => InResponses::$response,)* }
            }

            const fn in_trailers(self) -> InTrailers {
                match self { $(Self::$name => InTrailers::$trailer,)* }
            }

            const fn with_other_marks(self) -> OtherMarks {
                match self { $(Self::$name => OtherMarks::$marks,)* }
            }

            const fn in_settings(self) -> InSettings {
                match self { $(Self::$name => InSettings::$setting,)* }
            }

            /// What its value is to the gateway.
            #[must_use]
            pub(crate) const fn value(self) -> Value {
                match self { $(Self::$name => Value::$value,)* }
            }
        }
    };
}

names! {
//  name                  spellings                   request    response   trailer    marks      setting  value
    /// Any name that is only passed on.
    #[default]
    Other                 []                          Passed     Passed     Passed     Another    Free     Plain
    ContentLength         ["content-length"]          Framing    Framing    Forbidden  Another    Taken    Plain
    TransferEncoding      ["transfer-encoding"]       Framing    Framing    Forbidden  Another    Taken    Plain
    Host                  ["host"]                    Removed    Passed     Forbidden  Another    Taken    Plain
    Connection            ["connection"]              Removed    Switching  Forbidden  Another    Taken    Plain
    KeepAlive             ["keep-alive"]              Removed    Removed    Forbidden  Another    Taken    Plain
    ProxyConnection       ["proxy-connection"]        Removed    Removed    Forbidden  Another    Taken    Plain
    ProxyAuthenticate     ["proxy-authenticate"]      Removed    Removed    Forbidden  Another    Taken    Plain
    ProxyAuthorization    ["proxy-authorization"]     Removed    Passed     Forbidden  Disguised  Taken    Secret
    Te                    ["te"]                      Removed    Passed     Forbidden  Another    Taken    Plain
    Trailer               ["trailer"]                 Passed     Passed     Forbidden  Another    Taken    Plain
    Upgrade               ["upgrade"]                 Removed    Switching  Forbidden  Another    Taken    Plain
    Expect                ["expect"]                  Passed     Passed     Forbidden  Another    Taken    Plain
    Cookie                ["cookie"]                  Removed    Passed     Forbidden  Another    Taken    Secret
    SetCookie             ["set-cookie"]              Passed     Removed    Forbidden  Another    Taken    Secret
    Forwarded             ["forwarded"]               Removed    Passed     Forbidden  Another    Taken    Plain
    XForwarded            ["x-forwarded-"]            Removed    Passed     Forbidden  Disguised  Taken    Plain
    Authorization         ["authorization"]           Clients    Passed     Forbidden  Another    Free     Bearer
    XApiKey               ["x-api-key"]               Clients    Passed     Forbidden  Disguised  Free     Key
    ApiKey                ["api-key"]                 Removed    Passed     Forbidden  Disguised  Free     Key
    XiApiKey              ["xi-api-key"]              Clients    Passed     Forbidden  Disguised  Free     Key
    XGoogApiKey           ["x-goog-api-key"]          Removed    Passed     Forbidden  Disguised  Free     Secret
    XSluicegateKey        ["x-sluicegate-key"]        Removed    Passed     Forbidden  Disguised  Taken    Key
    XSluicegateLoop       ["x-sluicegate-loop"]       Passed     Passed     Forbidden  Disguised  Taken    Plain
    XGomodelUserPath      ["x-gomodel-user-path"]     Removed    Passed     Forbidden  Disguised  Taken    Plain
    XRequestId            ["x-request-id"]            Passed     Passed     Passed     Another    Taken    Plain
    SecWebsocketProtocol  ["sec-websocket-protocol"]  Passed     Passed     Forbidden  Disguised  Taken    Keys
    /// Where the page is from that a browser sends a request for.
    Origin                ["origin"]                  Page       Passed     Passed     Another    Free     Plain
    SecFetchSite          ["sec-fetch-site"]          Passed     Passed     Passed     Another    Free     Plain
    /// What browsers ask about pages, and what they are told.
    AccessControl         ["access-control-"]         Passed     Page       Passed     Another    Free     Plain
    Date                  ["date"]                    Passed     Passed     Passed     Another    Free     Plain
    /// A name with which a client asks some servers for another method or path than those of the request line.
    Override              ["x-http-method" "x-rewrite-url" "x-original-url" "x-original-uri" "x-override-url"
                           "x-method-override" "x-original-method" "x-http-path-override"
                           "x-envoy-original-path" "x-http-method-override"]
                                                      Judged     Passed     Judged     Same       Free     Plain
    /// A name under which a client says who it is or where it comes from, with other marks for its hyphens.
    Disguised             []                          Removed    Passed     Forbidden  Another    Free     Secret
}

/// What becomes of a request's lines.
enum InRequests {
    /// They go on, unless `Connection` names them.
    Passed,
    /// They go on even then: without them the message would end elsewhere.
    Framing,
    Removed,
    /// Removed, unless the provider gets the client's own credential.
    Clients,
    /// Removed where rules have judged method and path.
    Judged,
    /// Removed where the gateway answers the page in the provider's stead.
    Page,
}

/// What becomes of a response's lines.
enum InResponses {
    /// They go on, unless `Connection` names them.
    Passed,
    /// They go on even then, but not where there can be no content.
    Framing,
    Removed,
    /// Removed, but from a 101, which they are about.
    Switching,
    /// Removed where the gateway answers the page in the provider's stead.
    Page,
}

/// Whether a trailer may have the name.
enum InTrailers {
    Passed,
    /// It is about framing, routing, credentials, or one connection only.
    Forbidden,
    /// Forbidden where rules have judged method and path.
    Judged,
}

/// What the name is with other marks for its hyphens. Some servers take each mark, or a run of them, for a hyphen, as
/// those do that hand fields on in the way of CGI.
enum OtherMarks {
    /// Another name.
    Another,
    /// The same.
    Same,
    /// [`Name::Disguised`].
    Disguised,
}

/// Whether a provider's configured field may have the name.
enum InSettings {
    Free,
    /// No: the gateway decides on it itself.
    Taken,
}

/// What a field's value is to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Anybody may know it.
    Plain,
    /// Nobody else may learn about it; the gateway does not ask for it.
    Secret,
    /// A secret that may be a gateway key, behind a scheme.
    Bearer,
    /// A secret that may be a gateway key.
    Key,
    /// Some entries may be gateway keys.
    Keys,
}

/// Some of the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet(u64);

/// All names of which a column says this.
macro_rules! names_that {
    ($column:ident: $($entry:tt)+) => {{
        let (mut names, mut rest) = (NameSet::NONE, ALL);
        while let [name, after @ ..] = rest {
            if matches!(name.$column(), $($entry)+) {
                names = names.with(*name);
            }
            rest = after;
        }
        names
    }};
}

impl NameSet {
    /// Of no name.
    pub(crate) const NONE: Self = Self(0);
    /// What no request carries on.
    pub(in crate::http) const NOT_IN_REQUESTS: Self = names_that!(in_requests: InRequests::Removed);
    /// What carries a client's own credential on, where the provider is to get that.
    pub(crate) const CLIENTS: Self = names_that!(in_requests: InRequests::Clients);
    /// What names a method or path beside those of the request line.
    pub(crate) const OVERRIDES: Self = names_that!(in_requests: InRequests::Judged);
    /// What tells a provider of a page, where the gateway answers that.
    pub(crate) const PAGES: Self = names_that!(in_requests: InRequests::Page);
    /// What a provider tells a page, where the gateway does.
    pub(crate) const FOR_PAGES: Self = names_that!(in_responses: InResponses::Page);
    /// What no response carries on.
    pub(in crate::http) const NOT_IN_RESPONSES: Self =
        names_that!(in_responses: InResponses::Removed);
    /// What none but a 101 carries on.
    pub(in crate::http) const SWITCHING: Self = names_that!(in_responses: InResponses::Switching);
    /// What says where a message ends.
    pub(crate) const FRAMING: Self = names_that!(in_responses: InResponses::Framing);
    /// What no trailer may be.
    pub(in crate::http) const NOT_IN_TRAILERS: Self =
        names_that!(in_trailers: InTrailers::Forbidden);
    /// What no trailer may be of a request that rules have judged.
    pub(in crate::http) const NOT_IN_JUDGED_TRAILERS: Self =
        names_that!(in_trailers: InTrailers::Forbidden | InTrailers::Judged);
    /// What may be configured for a provider.
    pub(crate) const CONFIGURABLE: Self = names_that!(in_settings: InSettings::Free);
    /// What nobody else may learn about.
    pub(crate) const SECRET: Self =
        names_that!(value: Value::Secret | Value::Bearer | Value::Key | Value::Keys);

    /// With this one.
    #[must_use]
    pub(crate) const fn with(self, name: Name) -> Self {
        Self(self.0 | 1 << name as u32)
    }

    /// Whether it is one of them.
    #[must_use]
    pub(crate) const fn has(self, name: Name) -> bool {
        self.0 >> name as u32 & 1 == 1
    }

    /// Whether there is one that is in both.
    #[must_use]
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const _: () = assert!(ALL.len() <= u64::BITS as usize, "every name has a bit");
const _: () = {
    let framing = names_that!(in_requests: InRequests::Framing);
    assert!(framing.0 == NameSet::FRAMING.0, "both ways the same fields");
};
