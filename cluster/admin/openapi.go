package admin

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The OpenAPI document of the API, made from the table of routes and the Go types, so
// that it cannot say anything else than what travels. A test asks every question and
// holds the answers against it, and a copy in docs/ shows each change of the API as a
// changed line of a file.
//
// Only what the documents use is translated: structs, lists, maps with text as keys,
// text, whole and other numbers, booleans, times, and JSON that is passed on as it is. A
// field with "omitempty" or "omitzero" may be absent; every other one is always there.

// OpenAPI is the document, as a value for encoding/json. docs/openapi.json is a copy.
func OpenAPI() map[string]any {
	g := schemas{}
	paths := map[string]any{}
	failure := map[string]any{"description": "an error", "content": jsonContent(g.of(reflect.TypeFor[errorDocument]()))}
	for _, rt := range slices.Concat(routes(), streamRoutes()) {
		op := map[string]any{
			"summary": rt.about, "operationId": strings.ToLower(rt.method) + strings.ReplaceAll(strings.TrimPrefix(rt.path, "/api/v1"), "/", "-"),
			"responses": map[string]any{
				"200":     map[string]any{"description": "the answer", "content": contentAs(cmp.Or(streamTypes[rt.path], jsonType), g.of(reflect.TypeOf(rt.answer)))},
				"default": failure,
			},
		}
		params := []any{parameter(param{"timeout", "duration", "how long an answer may take (default 5s)", false})}
		for _, p := range rt.params {
			params = append(params, parameter(p))
		}
		op["parameters"] = params
		switch rt.body.(type) {
		case nil:
		case []byte:
			op["requestBody"] = map[string]any{"content": map[string]any{"application/octet-stream": map[string]any{}}}
		default:
			op["requestBody"] = map[string]any{"required": true, "content": jsonContent(g.of(reflect.TypeOf(rt.body)))}
		}
		item, _ := paths[rt.path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[rt.path] = item
		}
		item[strings.ToLower(rt.method)] = op
	}
	return map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "loopmesh admin API", "version": APIVersion},
		"paths": paths, "components": map[string]any{"schemas": map[string]any(g)},
	}
}

// jsonType is the form of every document but those of streams.
const jsonType = "application/json"

// jsonContent is a body of JSON with a schema.
func jsonContent(schema any) map[string]any { return contentAs(jsonType, schema) }

// contentAs is a body in one form. Of a stream the schema is that of each document in it.
func contentAs(form string, schema any) map[string]any {
	return map[string]any{form: map[string]any{"schema": schema}}
}

// parameter describes a part of the query. Durations and times travel as text; their form
// is in the description.
func parameter(p param) map[string]any {
	kind := p.kind
	if kind == "duration" || kind == "time" {
		kind = "string"
	}
	return map[string]any{"name": p.name, "in": "query", "required": p.required, "description": p.about, "schema": map[string]any{"type": kind}}
}

// Schema is the JSON Schema of a document by its kind (NodeList, Task, …), with what it
// refers to under "$defs"; false: there is no such kind.
func Schema(kind string) (map[string]any, bool) {
	all := OpenAPI()["components"].(map[string]any)["schemas"].(map[string]any)
	if all[kind] == nil {
		return nil, false
	}
	return alone(kind, all)
}

// SchemaOf is the JSON Schema of a document that a program makes of those of this API, by
// its kind and its Go type: a struct, or a List of one. false: it is neither.
func SchemaOf(kind string, v any) (map[string]any, bool) {
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Struct {
		return nil, false
	}
	g := schemas{}
	g.of(t)
	root := g[nameOf(t)]
	delete(g, nameOf(t))
	g[kind] = root
	return alone(kind, g)
}

// alone is one schema of all as a document of its own.
func alone(kind string, all map[string]any) (map[string]any, bool) {
	text, err := json.Marshal(map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/" + kind, "$defs": all})
	if err != nil {
		return nil, false
	}
	out := map[string]any{}
	err = json.Unmarshal([]byte(strings.ReplaceAll(string(text), "#/components/schemas/", "#/$defs/")), &out)
	return out, err == nil
}

// schemas are the named types that were met, by name.
type schemas map[string]any

// nameOf is a type's name in the document: List[Node] is NodeList.
func nameOf(t reflect.Type) string {
	name := t.Name()
	if of, ok := strings.CutPrefix(name, "List["); ok {
		of = strings.TrimSuffix(of, "]")
		name = of[strings.LastIndexByte(of, '.')+1:] + "List"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// of describes a type; a struct becomes a named schema and a reference to it.
func (g schemas) of(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case t == reflect.TypeFor[[]byte]():
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		return g.object(t)
	}
	return map[string]any{"type": "integer"}
}

// object describes a struct under its name, once: it is entered before its fields are
// looked at, so a type may refer to itself.
func (g schemas) object(t reflect.Type) map[string]any {
	name := nameOf(t)
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if _, met := g[name]; met {
		return ref
	}
	properties := map[string]any{}
	g[name] = map[string]any{"type": "object", "properties": properties}
	g[name].(map[string]any)["required"] = g.fields(t, properties)
	return ref
}

// fields adds the fields of a struct to properties, those of what it embeds as its own, and
// gives the names of those that are always there.
func (g schemas) fields(t reflect.Type, properties map[string]any) []string {
	required := []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct:
			required = append(required, g.fields(f.Type, properties)...)
		case f.IsExported() && tag != "":
			properties[tag] = g.of(f.Type)
			if !strings.Contains(options, "omit") {
				required = append(required, tag)
			}
		}
	}
	return required
}

// Kinds are the names that Schema knows, sorted.
func Kinds() []string {
	all := OpenAPI()["components"].(map[string]any)["schemas"].(map[string]any)
	return slices.Sorted(maps.Keys(all))
}
