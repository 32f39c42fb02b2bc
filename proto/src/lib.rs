//! The words of Farewell: every message and service that crosses a process boundary.
//!
//! This crate knows nothing of decisions, databases or transports. A team that writes a participant
//! needs this crate and `farewell-kit`, and nothing else of ours.

#![allow(
    clippy::large_enum_variant,
    clippy::doc_lazy_continuation,
    unused_qualifications,
    reason = "generated code"
)]

/// All files as an encoded `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/farewell.bin"));

/// `ErrorInfo.domain` of every error that Farewell's services return.
pub const ERROR_DOMAIN: &str = "farewell";

pub mod elsewhere;

pub mod account {
    pub mod v1 {
        tonic::include_proto!("farewell.account.v1");
    }
}
pub mod binding {
    pub mod v1 {
        tonic::include_proto!("farewell.binding.v1");
    }
}
pub mod deletion {
    pub mod v1 {
        tonic::include_proto!("farewell.deletion.v1");
    }
}
pub mod device {
    pub mod v1 {
        tonic::include_proto!("farewell.device.v1");
    }
}
pub mod identifier {
    pub mod v1 {
        tonic::include_proto!("farewell.identifier.v1");
    }
}
pub mod operator {
    pub mod v1 {
        tonic::include_proto!("farewell.operator.v1");
    }
}
pub mod participant {
    pub mod v1 {
        tonic::include_proto!("farewell.participant.v1");
    }
}
pub mod support {
    pub mod v1 {
        tonic::include_proto!("farewell.support.v1");
    }
}
