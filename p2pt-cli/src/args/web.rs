//! Arguments of `p2pt web`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::identifier;
use super::tracker::listen_address;

#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// Address and port to serve pages and the tracker on; port 0 takes a free one. With 127.0.0.1 none but this machine
    /// gets there
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    /// The room that the pages lead to [default: one that is drawn]
    #[arg(long, value_name = "ROOM", value_parser = identifier)]
    pub(crate) identifier: Option<String>,
    /// Your name in the chat, as the others see it
    #[arg(long, value_name = "NAME", default_value = "p2pt web")]
    pub(crate) name: String,
    /// Serve the pages in this folder, which examples/web/build makes, or your own [default: those that this program was
    /// built with, if it was]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pages: Option<PathBuf>,
}
