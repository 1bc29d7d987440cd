//! How large a tree of values may be before anybody walks over it.

use serde_json::Value;

/// What is read at most. What a tree costs to check, to quote and to keep is proportional to these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SizeLimits {
    /// Bytes of all keys and texts together.
    pub(crate) bytes: usize,
    /// Keys, items and all that stands in them.
    pub(crate) values: usize,
    /// Mappings and lists inside one another.
    pub(crate) depth: usize,
}

impl SizeLimits {
    /// The rule that the tree breaks, if it is too large. Looks no further than to the limit.
    pub(crate) fn broken_by(self, tree: &Value) -> Option<String> {
        let mut left = self;
        left.take(tree).err().map(|what| match what {
            Excess::Bytes => format!("has more than {} bytes of keys and texts", self.bytes),
            Excess::Values => format!("has more than {} values", self.values),
            Excess::Depth => format!("has more than {} mappings and lists inside one another", self.depth),
        })
    }

    fn take(&mut self, tree: &Value) -> Result<(), Excess> {
        self.values = self.values.checked_sub(1).ok_or(Excess::Values)?;
        match tree {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(text) => self.take_bytes(text),
            Value::Array(items) => self.deeper(|inside| items.iter().try_for_each(|item| inside.take(item))),
            Value::Object(map) => self.deeper(|inside| {
                map.iter().try_for_each(|(key, value)| {
                    inside.take_bytes(key)?;
                    inside.take(value)
                })
            }),
        }
    }

    fn take_bytes(&mut self, text: &str) -> Result<(), Excess> {
        self.bytes = self.bytes.checked_sub(text.len()).ok_or(Excess::Bytes)?;
        Ok(())
    }

    fn deeper(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Excess>) -> Result<(), Excess> {
        self.depth = self.depth.checked_sub(1).ok_or(Excess::Depth)?;
        walk(self)?;
        self.depth += 1;
        Ok(())
    }
}

enum Excess {
    Bytes,
    Values,
    Depth,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIMITS: SizeLimits = SizeLimits { bytes: 10, values: 5, depth: 2 };

    #[test]
    fn trees_are_taken_up_to_each_limit_and_no_further() {
        for (tree, rule) in [
            (json!({ "key": "seven b" }), None),
            (json!({ "key": "eight by" }), Some("has more than 10 bytes of keys and texts")),
            (json!([1, 2, 3, 4]), None),
            (json!([1, 2, 3, 4, 5]), Some("has more than 5 values")),
            (json!([[], [], { "a": 1 }]), None),
            (json!([[[]]]), Some("has more than 2 mappings and lists inside one another")),
        ] {
            assert_eq!(LIMITS.broken_by(&tree).as_deref(), rule, "{tree}");
        }
    }
}
