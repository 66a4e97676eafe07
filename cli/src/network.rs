//! The options that say what a program may do in the network.

use clap::Args;
use lunatic_executor::{AddressRule, NameRule, NetworkRules};

/// Rules of each kind; without one, anything of that kind is allowed.
#[derive(Clone, Debug, Default, Args)]
pub struct NetworkOptions {
    /// Where the program may connect to and send datagrams, and nowhere else: 10.0.0.0/8:80, [::1]:8000-8999, *:443
    #[arg(long = "allow-connect", value_name = "NETWORK:PORTS")]
    connect: Vec<AddressRule>,
    /// Where the program may listen and bind, and nowhere else, likewise
    #[arg(long = "allow-bind", value_name = "NETWORK:PORTS")]
    bind: Vec<AddressRule>,
    /// Whose addresses the program may look up, and no one else's: example.com, *.example.com
    #[arg(long = "allow-resolve", value_name = "NAME")]
    resolve: Vec<NameRule>,
    /// Nothing of all this but what is allowed by name
    #[arg(long)]
    no_network: bool,
}

impl NetworkOptions {
    /// What they say.
    pub fn rules(self) -> NetworkRules {
        let NetworkOptions { connect, bind, resolve, no_network } = self;
        NetworkRules {
            connect: (no_network || !connect.is_empty()).then_some(connect),
            bind: (no_network || !bind.is_empty()).then_some(bind),
            resolve: (no_network || !resolve.is_empty()).then_some(resolve),
        }
    }
}
