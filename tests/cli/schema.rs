//! As much of JSON Schema as `docs/json-schema.json` uses.

use serde_json::Value;

/// Checks a value against a schema; the error names the place.
pub(crate) fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    at(schema, schema, value, "$")
}

fn at(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let fail = |what: String| Err(format!("{place}: {what}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").ok_or("a strange reference")?;
        let target = root["$defs"].get(name).ok_or("a reference to nothing")?;
        return at(root, target, value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| at(root, choice, value, place).is_ok());
        return if fits { Ok(()) } else { fail("fits no choice".to_owned()) };
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return fail(format!("expected {}, found {value}", schema["const"]));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return fail(format!("{value} is none of {values:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| has_type(value, name)) {
        return fail(format!("expected {types:?}, found {value}"));
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return fail(format!("`{name}` is missing"));
            }
        }
        for (name, field) in object {
            let Some(property) = properties.get(name) else {
                return fail(format!("`{name}` is not described"));
            };
            at(root, property, field, &format!("{place}.{name}"))?;
        }
    }
    if let (Some(items), false) = (value.as_array(), schema["items"].is_null()) {
        for (index, item) in items.iter().enumerate() {
            at(root, &schema["items"], item, &format!("{place}[{index}]"))?;
        }
    }
    Ok(())
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        _ => false,
    }
}
