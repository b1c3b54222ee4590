//! The JSON schema of a scenario file, for editors.

use misfire_device::shape::Oddity;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::file::ScenarioFile;

/// The schema as a JSON document.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(ScenarioFile);
    schema.insert("title".into(), "Misfire scenario".into());
    schema.to_value()
}

pub(super) fn words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

pub(super) fn optional_words(generator: &mut SchemaGenerator) -> Schema {
    words(generator)
}

pub(super) fn word_or_number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0 }] })
}

pub(super) fn arguments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

pub(super) fn devices(_: &mut SchemaGenerator) -> Schema {
    let device = device();
    json_schema!({ "anyOf": [device, { "type": "array", "items": device, "minItems": 1 }] })
}

fn device() -> serde_json::Value {
    let count = |text: &str, min: u64, max: u64| serde_json::json!({ "type": "integer", "minimum": min, "maximum": max, "description": text });
    serde_json::json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["kind"],
        "properties": {
            "kind": { "enum": ["block", "net", "console", "rng", "scsi", "port-card"], "description": "What it is." },
            "attach": { "enum": ["vfio-user", "vhost-user"], "description": "How it is attached to the machine." },
            "queues": count("Number of virtqueues.", 1, 1024),
            "queue-size": {
                "anyOf": [count("Of all queues.", 1, 32768), { "type": "array", "items": { "type": "integer", "minimum": 1, "maximum": 32768 }, "minItems": 1 }],
                "description": "Elements of each queue, a power of two; a list gives one for each.",
            },
            "msix": count("Entries of the MSI-X table; 0: no MSI-X capability.", 0, 2048),
            "msi": { "enum": [0, 1, 2, 4, 8, 16, 32], "description": "Messages of the MSI capability; 0: none." },
            "msi-64": { "type": "boolean", "description": "Whether the MSI capability has a 64-bit address." },
            "msi-masking": { "type": "boolean", "description": "Whether its messages can be masked one by one." },
            "virtio": { "enum": ["modern", "transitional", "legacy"], "description": "The interface that drivers find." },
            "notify-mult": { "enum": [0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096], "description": "notify_off_multiplier." },
            "notify-off": {
                "anyOf": [{ "enum": ["identity", "reverse"] }, { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 1023 } }],
                "description": "queue_notify_off of each queue.",
            },
            "caps": caps(),
            "devcfg-len": count("Length of the device configuration structure in bytes.", 0, 4096),
            "revision": count("The PCI revision id.", 0, 255),
            "subsystem": {
                "type": "object",
                "additionalProperties": false,
                "required": ["vendor", "id"],
                "properties": { "vendor": count("Subsystem vendor id.", 0, 0xffff), "id": count("Subsystem id.", 0, 0xffff) },
                "description": "The ids of the board.",
            },
            "vendor-cap": count("Vendor id of a vendor data capability.", 0, 0xffff),
            "features-decoy": { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 127 }, "description": "Feature bits that are offered and mean nothing." },
            "strict": { "type": "boolean", "description": "Whether what comes before its time is ignored." },
            "siblings": {
                "type": "object",
                "additionalProperties": false,
                "required": ["n", "msix"],
                "properties": { "n": count("How many.", 1, 8), "msix": count("Entries of the MSI-X table of each.", 1, 2048) },
                "description": "Passive functions on the same bus.",
            },
            "pin": { "type": "boolean", "description": "Whether there is an INTx pin." },
            "ports": count("Number of ports of a port-card.", 1, 31),
            "capacity": count("Size of the disk in sectors of 512 bytes.", 1, 1 << 41),
            "units": count("Disks of a SCSI host: units of one target, each of that size.", 1, 8),
            "file": { "type": "string", "description": "A file behind the disk; memory when there is none." },
            "mac": { "type": "string", "pattern": "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$", "description": "Address of a network device." },
            "mtu": count("Largest packet of a network device in bytes, without the Ethernet header.", 68, 65535),
            "cols": count("Width of a console in characters.", 0, 65535),
            "rows": count("Height of a console in characters.", 0, 65535),
            "without": { "type": "array", "items": { "type": "string" }, "description": "Features that are withheld, by name or bit number." },
            "with": { "type": "array", "items": { "enum": misfire_device::shape::WITH }, "description": "Features that are offered on request only, by name." },
            "backend": {
                "type": "object",
                "additionalProperties": false,
                "required": ["socket"],
                "properties": { "socket": { "type": "string" } },
                "description": "A vhost-user backend that is not ours.",
            },
        },
    })
}

fn caps() -> serde_json::Value {
    let odd = || Oddity::ALL.iter().map(|(_, name)| *name);
    let words: Vec<_> = std::iter::once("normal").chain(odd()).collect();
    let items: Vec<_> = odd().collect();
    serde_json::json!({
        "anyOf": [{ "enum": words }, { "type": "array", "items": { "enum": items } }],
        "description": "How the virtio capabilities are presented.",
    })
}

pub(super) fn faults(_: &mut SchemaGenerator) -> Schema {
    let text = |text: &str| serde_json::json!({ "type": "string", "description": text });
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["on", "do"],
            "properties": {
                "id": text("Its id; default: the verb."),
                "device": { "type": "integer", "minimum": 0, "description": "The device it is armed on, from 0." },
                "on": text("The trigger, such as `cc.queue_msix_vector.wr` or `irq.due[q0]`."),
                "where": text("A predicate that has to hold as well, such as `q == 1 && val != 0xFFFF`."),
                "nth": {
                    "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string" }],
                    "description": "Which of the matches fire: `3`, `\"2..5\"`, `\"2..\"`, `\"*/10\"`.",
                },
                "per": text("When their count restarts: `epoch`, `instance` or `run`."),
                "do": text("The verb, such as `vector.reject`: `misfire faults` lists them."),
                "args": { "type": "object", "description": "The verb's arguments." },
                "until": text("How long it goes on once it has fired."),
            },
        },
    })
}

pub(super) fn variants(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": { "name": { "type": "string", "pattern": "^[a-z0-9-]+$" } },
        },
    })
}

pub(super) fn cases(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["when"],
            "properties": { "when": { "type": "object" } },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::scenario::{Vocabulary, read};

    /// The keys that the reader knows in a table, as it says when it meets an unknown one.
    fn keys_read(table: &str) -> Vec<String> {
        let text = match table {
            "" => "title = 't'\nzzz = 1\n[device]\nkind = 'block'\n".to_owned(),
            "device" => "title = 't'\n[device]\nkind = 'block'\nzzz = 1\n".to_owned(),
            _ => format!("title = 't'\n[device]\nkind = 'block'\n{table}\nzzz = 1\n"),
        };
        let problems =
            read(Path::new("a/b.toml"), "a/b", &text, &Vocabulary::default()).unwrap_err();
        let message = &problems[0].message;
        assert!(message.starts_with("unknown key `zzz`"), "{message}");
        let mut keys: Vec<String> = message
            .split('`')
            .skip(3)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        keys.sort();
        keys
    }

    fn properties(schema: &Value, path: &str) -> Vec<String> {
        let at = schema
            .pointer(path)
            .unwrap_or_else(|| panic!("{path} in {schema:#}"));
        let mut keys: Vec<String> = at.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_schema_has_the_keys_that_the_reader_knows() {
        let schema = schema();
        for (table, path) in [
            ("", "/properties"),
            ("device", "/properties/device/anyOf/0/properties"),
            (
                "[[fault]]\non = 'live'\ndo = 'x'",
                "/properties/fault/items/properties",
            ),
            ("[guest]", "/$defs/GuestFile/properties"),
            ("[[step]]", "/$defs/StepFile/properties"),
            ("[expect]", "/$defs/ExpectFile/properties"),
        ] {
            assert_eq!(keys_read(table), properties(&schema, path), "{table}");
        }
    }
}
