//! Rules of the repository as tests.

#[path = "tidy/decoders.rs"]
mod decoders;
#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/platforms.rs"]
mod platforms;
#[path = "tidy/repository.rs"]
mod repository;
