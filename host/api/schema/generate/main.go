// Command schema-generate prints Berth's schema table: one JSON object a line for every type of the Kubernetes API that
// the client libraries know in a stable version.
//
// Struct tags say how a field is named in JSON, which number it has in protobuf and how strategic merge patch treats it;
// the generated OpenAPI definitions say which fields are required, their list types and keys, defaults and enumerations.
// Neither knows both, so a row is made of the two.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	customresources "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/scheme"
	"k8s.io/apimachinery/pkg/runtime/schema"
	builtin "k8s.io/client-go/kubernetes/scheme"
	aggregation "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/scheme"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/generated/openapi"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned/scheme"
)

// row is a line of the table.
type row struct {
	Name    string   `json:"name"`
	Kinds   []string `json:"kinds,omitempty"`
	Scalar  string   `json:"scalar,omitempty"`
	MapType string   `json:"mapType,omitempty"`
	Fields  []field  `json:"fields,omitempty"`
}

// field is one field of a row; its type is a scalar's word or the name of another row.
type field struct {
	Name          string   `json:"name"`
	Type          string   `json:"type"`
	List          bool     `json:"list,omitempty"`
	Map           bool     `json:"map,omitempty"`
	Pointer       bool     `json:"pointer,omitempty"`
	Inline        bool     `json:"inline,omitempty"`
	Proto         int      `json:"proto,omitempty"`
	Wire          string   `json:"wire,omitempty"`
	OmitEmpty     bool     `json:"omitempty,omitempty"`
	Required      bool     `json:"required,omitempty"`
	Default       any      `json:"default,omitempty"`
	Enum          []any    `json:"enum,omitempty"`
	Format        string   `json:"format,omitempty"`
	ListType      string   `json:"listType,omitempty"`
	ListKeys      []string `json:"listKeys,omitempty"`
	MapType       string   `json:"mapType,omitempty"`
	PatchStrategy string   `json:"patchStrategy,omitempty"`
	PatchMergeKey string   `json:"patchMergeKey,omitempty"`
}

// scalars are the types that are one value in JSON, whatever their Go fields are.
var scalars = map[string]string{
	"api.resource.Quantity":   "quantity",
	"meta.v1.Duration":        "duration",
	"meta.v1.FieldsV1":        "any-object",
	"meta.v1.MicroTime":       "date-time-micro",
	"meta.v1.Time":            "date-time",
	"runtime.RawExtension":    "any-object",
	"time.Time":               "date-time",
	"util.intstr.IntOrString": "int-or-string",

	"apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON":                         "any",
	"apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray":       "schema-or-array",
	"apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool":        "schema-or-bool",
	"apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "schema-or-strings",
}

// table collects the rows of all types reachable from the registered kinds.
type table struct {
	rows        map[string]*row
	definitions map[string]common.OpenAPIDefinition
}

func main() {
	reference := func(path string) spec.Ref { return spec.MustCreateRef("#/definitions/" + path) }
	t := table{rows: map[string]*row{}, definitions: openapi.GetOpenAPIDefinitions(reference)}
	for _, registry := range []interface {
		AllKnownTypes() map[schema.GroupVersionKind]reflect.Type
	}{builtin.Scheme, customresources.Scheme, aggregation.Scheme, metrics.Scheme} {
		for kind, goType := range registry.AllKnownTypes() {
			if isStable(kind) && isPublished(goType) {
				t.addKind(kind, goType)
			}
		}
	}
	if err := t.print(); err != nil {
		fmt.Fprintln(os.Stderr, "schema-generate:", err)
		os.Exit(1)
	}
}

// isStable leaves out alpha and beta versions; metrics are wanted because they have no other.
func isStable(kind schema.GroupVersionKind) bool {
	if kind.Version == "__internal" {
		return false
	}
	return kind.Group == "metrics.k8s.io" || !strings.Contains(kind.Version, "alpha") && !strings.Contains(kind.Version, "beta")
}

// isPublished leaves out types of the libraries' own machinery.
func isPublished(goType reflect.Type) bool {
	modules := []string{"api", "apimachinery", "apiextensions-apiserver", "kube-aggregator", "metrics"}
	return slices.ContainsFunc(modules, func(module string) bool {
		return strings.HasPrefix(goType.PkgPath(), "k8s.io/"+module+"/")
	})
}

// addKind adds a registered kind. Options and the like are registered under every group; of them only Status is an object
// that clients see.
func (t table) addKind(kind schema.GroupVersionKind, goType reflect.Type) {
	name := t.typeName(goType)
	if strings.HasSuffix(goType.PkgPath(), "/meta/v1") && goType.Name() != "Status" {
		return
	}
	path := strings.TrimPrefix(kind.Group+"/"+kind.Version+"/"+kind.Kind, "/")
	if found := t.rows[name]; !slices.Contains(found.Kinds, path) {
		found.Kinds = append(found.Kinds, path)
	}
}

// typeName is how the table names a type; a struct is added to it when it is seen first.
func (t table) typeName(goType reflect.Type) string {
	switch goType.Kind() {
	case reflect.Struct:
	case reflect.Int:
		return "int64"
	case reflect.Interface:
		return "any"
	default:
		return goType.Kind().String()
	}
	name := rowName(goType)
	if _, known := t.rows[name]; known {
		return name
	}
	added := &row{Name: name, Scalar: scalars[name]}
	t.rows[name] = added // before its fields: types refer to themselves
	definition := t.definitions[util.GetCanonicalTypeName(reflect.Zero(goType).Interface())].Schema
	added.MapType, _ = definition.Extensions["x-kubernetes-map-type"].(string)
	for i := range goType.NumField() {
		if f, ok := t.field(goType.Field(i)); ok {
			f.describe(definition)
			added.Fields = append(added.Fields, f)
		}
	}
	return name
}

// rowName shortens an import path: k8s.io/api/core/v1.Pod is core.v1.Pod.
func rowName(goType reflect.Type) string {
	path := strings.TrimPrefix(goType.PkgPath(), "k8s.io/")
	for _, prefix := range []string{"api/", "apimachinery/pkg/apis/", "apimachinery/pkg/"} {
		path = strings.TrimPrefix(path, prefix)
	}
	return strings.ReplaceAll(path, "/", ".") + "." + goType.Name()
}

// field reads what the struct tags say; fields that do not travel are not ok.
func (t table) field(source reflect.StructField) (field, bool) {
	tag, isTagged := source.Tag.Lookup("json")
	name, options, _ := strings.Cut(tag, ",")
	if !source.IsExported() || name == "-" {
		return field{}, false
	}
	f := field{
		Name:          name,
		Inline:        isTagged && name == "",
		OmitEmpty:     slices.Contains(strings.Split(options, ","), "omitempty"),
		PatchStrategy: source.Tag.Get("patchStrategy"),
		PatchMergeKey: source.Tag.Get("patchMergeKey"),
	}
	if wire, rest, found := strings.Cut(source.Tag.Get("protobuf"), ","); found {
		number, _, _ := strings.Cut(rest, ",")
		f.Wire = wire
		f.Proto, _ = strconv.Atoi(number)
	}
	goType := source.Type
	f.Pointer = goType.Kind() == reflect.Pointer
	f.Type = t.valueType(unpointed(goType), &f)
	return f, true
}

// valueType names the type of one value and notes whether the field is a list or a map of it.
func (t table) valueType(goType reflect.Type, f *field) string {
	switch goType.Kind() {
	case reflect.Slice:
		if isBytes(goType) {
			return "bytes"
		}
		f.List = true
		return t.elementType(goType.Elem())
	case reflect.Map:
		f.Map = true
		return t.elementType(goType.Elem())
	default:
		return t.typeName(goType)
	}
}

func (t table) elementType(goType reflect.Type) string {
	goType = unpointed(goType)
	switch {
	case goType.Kind() != reflect.Slice:
		return t.typeName(goType)
	case isBytes(goType):
		return "bytes"
	default:
		return "list-of-" + t.typeName(unpointed(goType.Elem()))
	}
}

func unpointed(goType reflect.Type) reflect.Type {
	if goType.Kind() == reflect.Pointer {
		return goType.Elem()
	}
	return goType
}

func isBytes(goType reflect.Type) bool {
	return goType.Elem().Kind() == reflect.Uint8
}

// describe adds what the OpenAPI definition of the parent says.
func (f *field) describe(parent spec.Schema) {
	property, found := parent.Properties[f.Name]
	if !found {
		return
	}
	f.Required = slices.Contains(parent.Required, f.Name)
	f.Enum = property.Enum
	f.Format = property.Format
	f.ListType, _ = property.Extensions["x-kubernetes-list-type"].(string)
	f.MapType, _ = property.Extensions["x-kubernetes-map-type"].(string)
	keys, _ := property.Extensions["x-kubernetes-list-map-keys"].([]any)
	for _, key := range keys {
		f.ListKeys = append(f.ListKeys, fmt.Sprint(key))
	}
	if !isZero(property.Default) {
		f.Default = property.Default
	}
}

// isZero says whether a declared default is only Go's empty text or struct, which says nothing.
func isZero(value any) bool {
	object, isObject := value.(map[string]any)
	return value == nil || value == any("") || isObject && len(object) == 0
}

func (t table) print() error {
	encoder := json.NewEncoder(os.Stdout)
	for _, r := range slices.SortedFunc(maps.Values(t.rows), func(a, b *row) int { return cmp.Compare(a.Name, b.Name) }) {
		slices.Sort(r.Kinds)
		if err := encoder.Encode(r); err != nil {
			return fmt.Errorf("cannot write the row of %s: %w", r.Name, err)
		}
	}
	return nil
}
