//! The path of a field as people write and read it: `spec.docker.clusterStoreOpts["kv.certfile"]`,
//! `spec.etcdProxy.upstream.endpoints[0]`.

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The path of what stands under `key`.
pub(super) fn child(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-*/<".contains(c);
    match (path.is_empty(), !key.is_empty() && key.chars().all(plain)) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// The path of the item at `index`, from 0.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The steps of a path; none if it is not well formed.
pub(super) fn steps(path: &str) -> Option<Vec<Step>> {
    let (mut steps, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]")?;
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        } else {
            let key = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
            let end = key.find(['.', '[']).unwrap_or(key.len());
            steps.push(Step::Key(Some(&key[..end]).filter(|key| !key.is_empty())?.to_owned()));
            rest = &key[end..];
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_back_as_steps() {
        let path = item(&child(&child("", "spec"), "kv.certfile"), 3);
        assert_eq!(path, "spec[\"kv.certfile\"][3]");
        let expected = [Step::Key("spec".into()), Step::Key("kv.certfile".into()), Step::Index(3)];
        assert_eq!(steps(&path).unwrap(), expected);
        for bad in ["a..b", ".a", "a[", "a[x]", "a[\"b\"", "a.", "a]b."] {
            assert_eq!(steps(bad), None, "{bad}");
        }
    }
}
