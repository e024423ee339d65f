//! Which APIs are spoken, in which versions. Kafka's `ApiVersions`.
//!
//! No tagged field is ever sent: widely used clients misread more than one.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use crate::wire::Api;

/// All that is offered to clients.
pub(super) fn handle() -> ApiVersionsResponse {
    let offered = |api: &Api| {
        ApiVersion::default()
            .with_api_key(api.key)
            .with_min_version(*api.versions.start())
            .with_max_version(*api.versions.end())
    };
    ApiVersionsResponse::default().with_api_keys(Api::advertised().map(offered).collect())
}

/// The answer to a version of this API that is not spoken: to be sent in version 0, which everyone reads. With the
/// versions that are spoken, so that the client may choose one of them at once.
pub(super) fn unsupported() -> ApiVersionsResponse {
    handle().with_error_code(ResponseError::UnsupportedVersion.code())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::Encodable;

    use super::*;

    #[test]
    fn no_tagged_field_is_sent() {
        let mut bytes = BytesMut::new();
        handle().encode(&mut bytes, 3).expect("encodes");
        let apis = Api::advertised().count();
        // The error, the count and each API with its empty tags, the throttle time, and no tags.
        assert_eq!(bytes.len(), 2 + 1 + apis * 7 + 4 + 1);
    }
}
