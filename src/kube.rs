//! Kubernetes, as far as the controller wants to know it: a small client and the feeds that keep a
//! [`ClusterView`](controller::cluster::ClusterView) up to date, one task for each kind of object.
//!
//! **Invariants:** without an API configured nothing here is started, read or contacted; a call of CSI never
//! asks Kubernetes, it looks at the view; no type of Kubernetes leaves this folder.

pub mod api;
mod client;
mod facts;
mod feed;
mod http_api;
mod kubeconfig;
mod lines;
mod login;
mod pace;
mod wire;

pub use client::{Client, Error, Event, Page, Regarding};
pub use controller::cluster;
pub(crate) use facts::resource;
pub use feed::{Feeds, follow};
pub use http_api::HttpApi;
pub use lines::Lines;
pub use login::{Access, Login, Origin, Pem, SERVICE_ACCOUNT, Trust};
