//! The JSON schema of a scenario file, for editors.

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
            "kind": { "enum": ["block", "port-card"], "description": "What it is." },
            "attach": { "enum": ["vfio-user", "vhost-user"], "description": "How it is attached to the machine." },
            "queues": count("Number of virtqueues.", 1, 1024),
            "queue-size": count("Elements of each queue, a power of two.", 1, 32768),
            "msix": count("Entries of the MSI-X table; 0: no MSI-X capability.", 0, 2048),
            "msi": { "enum": [0, 1, 2, 4, 8, 16, 32], "description": "Messages of the MSI capability; 0: none." },
            "pin": { "type": "boolean", "description": "Whether there is an INTx pin." },
            "ports": count("Number of ports of a port-card.", 1, 31),
            "capacity": count("Size of the disk in sectors of 512 bytes.", 1, 1 << 41),
            "file": { "type": "string", "description": "A file behind the disk; memory when there is none." },
            "without": { "type": "array", "items": { "type": "string" }, "description": "Features that are withheld, by name or bit number." },
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

pub(super) fn faults(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "object" } })
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
