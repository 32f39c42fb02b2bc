//! Compiles the .proto files with protox, so that no protoc needs to be installed.
use prost::Message as _;
use std::{env, fs, path::PathBuf};

const FILES: [&str; 10] = [
    "farewell/account/v1/account_service.proto",
    "farewell/deletion/v1/deletion.proto",
    "farewell/deletion/v1/deletion_service.proto",
    "farewell/participant/v1/participant_service.proto",
    "farewell/device/v1/device.proto",
    "farewell/device/v1/device_service.proto",
    "farewell/binding/v1/binding_service.proto",
    "farewell/operator/v1/operator_service.proto",
    "farewell/support/v1/support_service.proto",
    "farewell/identifier/v1/identifier_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("farewell.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".farewell")
        // `ParticipantService.Connect` would collide with the generated `connect` constructor.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
