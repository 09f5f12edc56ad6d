//! Examples in JSON.

/// A text as a string; one that is not UTF-8, such as part of a character, as an array of its bytes. Both are read.
pub(super) mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(text) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => text.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Text::deserialize(deserializer)? {
            Text::Text(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
        })
    }
}

/// A picture as a PNG in base64.
pub(super) mod picture {
    use std::path::Path;

    use data_encoding::BASE64;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::picture::Picture;

    pub(crate) fn serialize<S: Serializer>(picture: &Picture, serializer: S) -> Result<S::Ok, S::Error> {
        let png = picture.to_png(None).map_err(S::Error::custom)?;
        serializer.serialize_str(&BASE64.encode(&png))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Picture, D::Error> {
        let text = String::deserialize(deserializer)?;
        let png = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let (picture, _) = Picture::from_png(&png, Path::new("the image")).map_err(D::Error::custom)?;
        Ok(picture)
    }
}

#[cfg(test)]
mod tests {
    use crate::generate::{Chunk, Condition, Request};
    use crate::media::{Keep, Media};
    use crate::picture::Picture;

    fn as_read(request: &Request) -> Request {
        serde_json::from_str(&serde_json::to_string(request).unwrap()).unwrap()
    }

    #[test]
    fn requests_are_the_same_after_a_way_through_json() {
        let image = Picture::new(2, 1, 3, vec![0, 1, 2, 253, 254, 255]);
        let keep = Keep { image: image.clone(), mask: vec![true, false] };
        let prompts = [Media::Image(image), Media::Text(b"\xe2\x82".to_vec()), Media::Text("a €".into())];
        for prompt in prompts {
            let condition =
                Condition { class: Some(3), no_class: false, prompt: Some(prompt), keep: Some(keep.clone()) };
            let request = Request { seed: 7, condition, ..Request::default() };
            assert_eq!(as_read(&request), request);
        }
    }

    #[test]
    fn text_is_a_string_and_progress_has_names() {
        let json = |chunk: &Chunk| serde_json::to_string(chunk).unwrap();
        assert_eq!(json(&Chunk::Part(Media::Text("a €".into()))), r#"{"part":{"text":"a €"}}"#);
        assert_eq!(json(&Chunk::Progress { done: 3, total: 20 }), r#"{"progress":{"done":3,"total":20}}"#);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for text in ["no base64", "AAAA"] {
            let media = serde_json::from_str::<Media>(&format!(r#"{{"image":"{text}"}}"#));
            assert!(media.is_err(), "{text}");
        }
    }
}
