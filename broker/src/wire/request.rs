//! A frame that arrived: its head, and its body as one of Kafka's requests.

use bytes::{Buf, Bytes};
use kafka_protocol::protocol::Decodable;

use super::apis::Api;
use super::shape::{self, Malformed};

/// What stands before a request's body. Kafka's `RequestHeader` of versions 1 and 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The API's number.
    pub key: i16,
    /// The API's version.
    pub version: i16,
    /// Repeated in the reply.
    pub correlation_id: i32,
    /// What the client calls itself; for logs, and for the names of group members.
    pub client_id: Option<String>,
}

/// A request of an API and a version that are spoken here.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which one it is, and whose.
    pub head: Head,
    /// How it is laid out.
    pub api: &'static Api,
    body: Bytes,
}

/// Why a frame is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The frame ends within its head.
    #[error("a frame of {bytes} bytes is no request")]
    Head {
        /// The frame's length.
        bytes: usize,
    },
    /// No such API is spoken.
    #[error("no api {} is spoken", .0.key)]
    UnknownApi(Head),
    /// The API is spoken, in other versions.
    #[error("version {} of api {} is not spoken", .0.version, .0.key)]
    UnsupportedVersion(Head),
    /// Lengths or counts go beyond the frame.
    #[error("request of api {key}, version {version}")]
    Malformed {
        /// The API's number.
        key: i16,
        /// The API's version.
        version: i16,
        /// Where.
        #[source]
        malformed: Malformed,
    },
    /// The layout holds and the content does not, such as text that is not UTF-8.
    #[error("request of api {key}, version {version}: {what}")]
    Content {
        /// The API's number.
        key: i16,
        /// The API's version.
        version: i16,
        /// The decoder's words.
        what: String,
    },
}

impl Request {
    /// Takes `frame`, what follows a frame's length, apart.
    ///
    /// # Errors
    /// When its head is no head of an API and a version spoken here.
    pub fn parse(mut frame: Bytes) -> Result<Self, RequestError> {
        let bytes = frame.len();
        let head = head(&mut frame).ok_or(RequestError::Head { bytes })?;
        let Some(api) = Api::find(head.key) else {
            return Err(RequestError::UnknownApi(head));
        };
        if !api.versions.contains(&head.version) {
            return Err(RequestError::UnsupportedVersion(head));
        }
        if api.is_flexible(head.version) {
            // Tagged fields of a head: there are none that we know.
            let tags = shape::tags(&frame).map_err(|_| RequestError::Head { bytes })?;
            frame.advance(tags);
        }
        Ok(Self { head, api, body: frame })
    }

    /// The body as the request `M`, which must be that of the head's API. What is bytes in it shares the frame.
    ///
    /// What goes on behind the request is passed over, as Kafka does: librdkafka 2.16, asking for the metadata of all
    /// topics in version 12, sends three bytes too many.
    ///
    /// # Errors
    /// When the body is not laid out as the API's version asks.
    pub fn body<M: Decodable>(&self) -> Result<M, RequestError> {
        let (key, version) = (self.head.key, self.head.version);
        let walked = shape::walk(self.api, version, &self.body)
            .map_err(|malformed| RequestError::Malformed { key, version, malformed })?;
        let mut rest = self.body.clone();
        let message = M::decode(&mut rest, version).map_err(|error| RequestError::Content {
            key,
            version,
            what: format!("{error:#}"),
        })?;
        let decoded = self.body.len() - rest.len();
        if decoded != walked {
            let what = format!("{walked} bytes, of which {decoded} are a request");
            return Err(RequestError::Content { key, version, what });
        }
        Ok(message)
    }

    /// The body as it came.
    pub fn raw_body(&self) -> &Bytes {
        &self.body
    }
}

fn head(frame: &mut Bytes) -> Option<Head> {
    let key = frame.try_get_i16().ok()?;
    let version = frame.try_get_i16().ok()?;
    let correlation_id = frame.try_get_i32().ok()?;
    let client_id = match usize::try_from(frame.try_get_i16().ok()?) {
        Ok(bytes) if bytes <= frame.len() => {
            Some(String::from_utf8_lossy(&frame.split_to(bytes)).into_owned())
        }
        Ok(_) => return None,
        Err(_) => None, // Negative: null.
    };
    Some(Head { key, version, correlation_id, client_id })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::{ApiKey, MetadataRequest};
    use kafka_protocol::protocol::Encodable;

    use super::*;

    fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i16(key);
        bytes.put_i16(version);
        bytes.put_i32(42);
        bytes.put_i16(4);
        bytes.put_slice(b"kcat");
        bytes.put_slice(rest);
        bytes.freeze()
    }

    #[test]
    fn a_head_is_taken_off_and_the_body_decoded() {
        let mut body = BytesMut::new();
        MetadataRequest::default().encode(&mut body, 5).expect("encodes");
        let request = Request::parse(frame(ApiKey::Metadata as i16, 5, &body)).expect("a request");
        let head = Head { key: 3, version: 5, correlation_id: 42, client_id: Some("kcat".to_owned()) };
        assert_eq!(request.head, head);
        assert_eq!(request.body::<MetadataRequest>().expect("decodes"), MetadataRequest::default());
    }

    #[test]
    fn tags_of_a_head_are_skipped() {
        let mut rest = BytesMut::from(&[1, 9, 2, 0xaa, 0xbb][..]);
        MetadataRequest::default().encode(&mut rest, 12).expect("encodes");
        let request = Request::parse(frame(ApiKey::Metadata as i16, 12, &rest)).expect("a request");
        request.body::<MetadataRequest>().expect("decodes");
    }

    #[test]
    fn what_is_not_spoken_is_told_with_its_head() {
        let unknown = Request::parse(frame(71, 0, &[]));
        assert!(matches!(unknown, Err(RequestError::UnknownApi(head)) if head.key == 71));
        let newer = Request::parse(frame(ApiKey::ApiVersions as i16, 99, &[]));
        assert!(matches!(newer, Err(RequestError::UnsupportedVersion(head)) if head.correlation_id == 42));
    }

    #[test]
    fn all_topics_as_librdkafka_asks_for_them_are_a_request_with_three_bytes_behind_it() {
        let rest = [0, 0, 0, 0, 0, 1, 0, 0];
        let request = Request::parse(frame(ApiKey::Metadata as i16, 12, &rest)).expect("a head");
        let asked = request.body::<MetadataRequest>().expect("a request");
        assert_eq!((asked.topics, asked.allow_auto_topic_creation), (None, false));
    }

    #[test]
    fn a_torn_head_is_refused() {
        let whole = frame(ApiKey::Metadata as i16, 5, &[]);
        for length in 0..whole.len() {
            assert!(
                matches!(Request::parse(whole.slice(..length)), Err(RequestError::Head { .. })),
                "{length}"
            );
        }
    }
}
