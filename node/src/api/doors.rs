//! The doors of a running node: a Unix socket in the home for the local user, and loopback TCP by token.
//!
//! Where there is no Unix socket (Windows, or a home whose path is too long for one) the local user's door is loopback
//! TCP with a token of this run, both written to a file that only the user can read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use serde::{Deserialize, Serialize};
use syncra_protocol::id::base32;
use tokio::net::TcpListener;

use super::answer;
use super::guard::{Guard, guard};
use super::listener::{Bounds, Listeners};
use super::service::Service;
use super::types::ApiAddresses;
use super::verb::{PREFIX, routes};
use crate::home::Layout;
use crate::problem::{Code, Problem};
use crate::{clock, durable};

/// What a door bears. Its connections last: readers of events stay.
const BOUNDS: Bounds = Bounds { connections: 128, life: None };

/// Where the local user's door of a home is.
#[derive(Debug, Clone)]
pub struct DoorPaths {
    socket: PathBuf,
}

impl DoorPaths {
    /// The paths in the home with this layout.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { socket: layout.socket() }
    }

    /// The Unix socket, if its path is short enough for the system.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        // `sun_path` has 108 bytes on Linux, 104 on macOS, the final zero included.
        (cfg!(unix) && self.socket.as_os_str().len() < 104).then(|| self.socket.clone())
    }

    /// The file with address and token, where there is no socket.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.socket.with_extension("json")
    }
}

/// The content of the door file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DoorFile {
    pub(super) address: SocketAddr,
    pub(super) token: String,
}

/// Open doors. Dropping them without [`Doors::close`] cuts all connections.
#[derive(Debug)]
pub struct Doors {
    paths: DoorPaths,
    addresses: ApiAddresses,
    listeners: Listeners,
}

impl Doors {
    /// Opens the local user's door of the service's home, and loopback TCP at `tcp` if that is given.
    ///
    /// # Errors
    /// A [`Problem`]: the address is taken, is not a loopback address, or the home cannot be written.
    pub async fn open(service: &Arc<Service>, tcp: Option<SocketAddr>) -> Result<Self, Problem> {
        let paths = DoorPaths::of(service.layout());
        let mut doors =
            Self { paths: paths.clone(), addresses: ApiAddresses::default(), listeners: Listeners::default() };
        doors.remove_files();
        if let Some(address) = tcp {
            let address = doors.open_tcp(service, address, None).await?;
            doors.addresses.tcp = Some(address.to_string());
        }
        match paths.socket() {
            Some(path) => doors.open_socket(service, &path)?,
            None => doors.open_file_door(service).await?,
        }
        service.opened(doors.addresses.clone());
        Ok(doors)
    }

    /// Where the doors are.
    #[must_use]
    pub fn addresses(&self) -> &ApiAddresses {
        &self.addresses
    }

    /// Lets answers that are under way end, for a few seconds, then cuts the rest.
    pub async fn close(mut self) {
        std::mem::take(&mut self.listeners).close().await;
    }

    async fn open_tcp(
        &mut self,
        service: &Arc<Service>,
        address: SocketAddr,
        run_token: Option<&str>,
    ) -> Result<SocketAddr, Problem> {
        if !address.ip().is_loopback() {
            let message = format!("the API listens on loopback addresses only, not on `{address}`");
            return Err(Problem::new(Code::BadArgument, message));
        }
        let failed = |error| Problem::io(format!("cannot listen on `{address}`"), &error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = router(service, Some(address), run_token);
        self.listeners.listen(BOUNDS, router, listener, |listener| async move {
            let (stream, _) = listener.accept().await?;
            // Frames are small and written whole: waiting to merge them only adds latency.
            stream.set_nodelay(true)?;
            Ok((stream, ()))
        });
        Ok(address)
    }

    async fn open_file_door(&mut self, service: &Arc<Service>) -> Result<(), Problem> {
        let token = base32(&clock::random::<32>());
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = self.open_tcp(service, any_port, Some(&token)).await?;
        let file = DoorFile { address, token };
        let json = serde_json::to_vec(&file).expect("an address and a token are JSON");
        durable::replace(&self.paths.file(), &json)?;
        self.addresses.tcp.get_or_insert_with(|| address.to_string());
        Ok(())
    }

    #[cfg(unix)]
    fn open_socket(&mut self, service: &Arc<Service>, path: &Path) -> Result<(), Problem> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        use tokio::net::UnixListener;

        let failed = |error| Problem::io(format!("cannot open the socket `{}`", path.display()), &error);
        // Who connects before the mode is set is still checked below.
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let owner = std::fs::metadata(path).map_err(failed)?.uid();
        self.addresses.socket = Some(path.display().to_string());
        let router = router(service, None, None);
        self.listeners.listen(BOUNDS, router, listener, move |listener| async move {
            let (stream, _) = listener.accept().await?;
            // Modes can be loosened by hand; who connects cannot be faked. Root may do everything anyway.
            let uid = stream.peer_cred()?.uid();
            if uid != owner && uid != 0 {
                return Err(std::io::ErrorKind::PermissionDenied.into());
            }
            Ok((stream, ()))
        });
        Ok(())
    }

    #[cfg(not(unix))]
    fn open_socket(&mut self, _: &Arc<Service>, path: &Path) -> Result<(), Problem> {
        Err(Problem::new(Code::Bug, format!("no Unix sockets here, so no `{}`", path.display())))
    }

    fn remove_files(&self) {
        for path in [self.paths.socket(), Some(self.paths.file())].into_iter().flatten() {
            // Left by a killed node: the home's lock is ours, so it cannot be anybody else's.
            drop(std::fs::remove_file(path));
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.remove_files();
    }
}

/// All routes behind the checks of one door: loopback TCP at that address, or the Unix socket.
fn router(service: &Arc<Service>, tcp: Option<SocketAddr>, run_token: Option<&str>) -> Router {
    let routes = routes();
    let guard_state = Arc::new(Guard::new(tcp, service.clone(), &routes, run_token));
    let mut router = Router::new();
    for route in routes {
        router = router.route(&format!("{PREFIX}{}", route.path), route.handler);
    }
    router
        .fallback(|request: Request| async move {
            let message = format!("there is no `{}`", request.uri().path());
            answer::failure(Problem::new(Code::RouteNotFound, message))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let message = format!("`{}` does not take {}", request.uri().path(), request.method());
            answer::failure(Problem::new(Code::MethodNotAllowed, message))
        })
        .layer(from_fn_with_state(guard_state, guard))
        .with_state(service.clone())
}
