//! The options for what a program may do in the network.

use clap::Args;
use lunatic_executor::{AddressRule, NameRule, NetworkRules};

/// Rules of each kind. Without a rule of a kind, everything of that kind is allowed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkOptions {
    /// Allow connections and datagrams to these addresses only
    ///
    /// Examples: 10.0.0.0/8:80, [::1]:8000-8999, *:443.
    #[arg(long = "allow-connect", value_name = "NETWORK:PORTS")]
    connect: Vec<AddressRule>,
    /// Allow listening and binding at these addresses only
    ///
    /// Examples: 127.0.0.1:8080, *:1024-65535.
    #[arg(long = "allow-bind", value_name = "NETWORK:PORTS")]
    bind: Vec<AddressRule>,
    /// Allow look-ups of these names only
    ///
    /// Examples: example.com, *.example.com.
    #[arg(long = "allow-resolve", value_name = "NAME")]
    resolve: Vec<NameRule>,
    /// Deny all network access that no --allow-... permits
    #[arg(long)]
    no_network: bool,
}

impl NetworkOptions {
    /// The rules that these options describe.
    pub fn rules(self) -> NetworkRules {
        let NetworkOptions { connect, bind, resolve, no_network } = self;
        NetworkRules {
            connect: (no_network || !connect.is_empty()).then_some(connect),
            bind: (no_network || !bind.is_empty()).then_some(bind),
            resolve: (no_network || !resolve.is_empty()).then_some(resolve),
        }
    }
}
