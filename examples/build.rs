//! All that it takes to call and to serve what a `.proto` file describes.

fn main() -> Result<(), callsign_build::Error> {
    callsign_build::compile(&["proto/greeter.proto"], &["proto"])
}
