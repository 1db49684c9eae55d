package report

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailcertd/internal/ca"
	"mailcertd/internal/plan"
)

// schema is the part of JSON Schema that our schemas use.
type schema struct {
	Ref         string             `json:"$ref"`
	Defs        map[string]*schema `json:"$defs"`
	Description string             `json:"description"`
	Type        string             `json:"type"`
	Format      string             `json:"format"`
	Const       any                `json:"const"`
	Enum        []string           `json:"enum"`
	Items       *schema            `json:"items"`
	AnyOf       []*schema          `json:"anyOf"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Additional  *bool              `json:"additionalProperties"`

	file string
}

func readSchema(t *testing.T, file string) *schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs", file))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	s.file = file
	return &s
}

// resolve follows a $ref: FILE, #/$defs/NAME, or both.
func (s *schema) resolve(t *testing.T, file string) (*schema, string) {
	t.Helper()
	if s.Ref == "" {
		return s, file
	}
	other, def, _ := strings.Cut(s.Ref, "#/$defs/")
	if other == "" {
		other = file
	}
	root := readSchema(t, other)
	if def == "" {
		return root, other
	}
	if root.Defs[def] == nil {
		t.Fatalf("%s: %s leads nowhere", file, s.Ref)
	}
	return root.Defs[def], other
}

var marshalsText = reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()

// conform compares a Go type with its schema: the same fields, required if they are always present, of the right types,
// each with a description.
func conform(t *testing.T, where string, goType reflect.Type, s *schema, file string) {
	t.Helper()
	if s == nil {
		t.Errorf("%s: no schema", where)
		return
	}
	described := s.Description != ""
	s, file = s.resolve(t, file)
	if !described && s.Description == "" && !strings.HasSuffix(where, "[]") {
		t.Errorf("%s: no description", where)
	}
	want := ""
	switch {
	case goType == reflect.TypeFor[time.Time]():
		if s.Type != "string" || s.Format != "date-time" {
			t.Errorf("%s: a time has type %q and format %q", where, s.Type, s.Format)
		}
		return
	case goType.Implements(marshalsText), goType.Kind() == reflect.String:
		want = "string"
	case goType.Kind() == reflect.Bool:
		want = "boolean"
	case goType.Kind() == reflect.Int:
		want = "integer"
		if s.Const == 1.0 && strings.HasSuffix(where, ".version") {
			return
		}
	case goType.Kind() == reflect.Slice:
		want = "array"
		conform(t, where+"[]", goType.Elem(), s.Items, file)
	case goType.Kind() == reflect.Struct:
		want = "object"
		conformFields(t, where, goType, s, file)
	default:
		t.Errorf("%s: no rule for %s", where, goType)
	}
	if s.Type != want {
		t.Errorf("%s: type %q, want %q", where, s.Type, want)
	}
}

func conformFields(t *testing.T, where string, goType reflect.Type, s *schema, file string) {
	t.Helper()
	if s.Additional == nil || *s.Additional {
		t.Errorf("%s: additionalProperties is not false: a new field would go undocumented", where)
	}
	var names, always []string
	for f := range goType.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		names = append(names, name)
		optional := options == "omitempty"
		if !optional {
			always = append(always, name)
		}
		prop, fieldType := s.Properties[name], f.Type
		if fieldType.Kind() == reflect.Pointer {
			fieldType = fieldType.Elem()
			if !optional { // null counts as a value
				if prop == nil || len(prop.AnyOf) != 2 || prop.AnyOf[0].Type != "null" {
					t.Errorf("%s.%s: may be null, want anyOf null and a type", where, name)
					continue
				}
				prop = prop.AnyOf[1]
			}
		}
		conform(t, where+"."+name, fieldType, prop, file)
	}
	have := []string{}
	for name := range s.Properties {
		have = append(have, name)
	}
	slices.Sort(have)
	slices.Sort(names)
	if d := cmp.Diff(names, have); d != "" {
		t.Errorf("%s: fields of the program (-) and of docs/%s (+) differ:\n%s", where, file, d)
	}
	required := slices.Sorted(slices.Values(s.Required))
	slices.Sort(always)
	if d := cmp.Diff(always, required); d != "" {
		t.Errorf("%s: what the program always has (-) and what docs/%s requires (+) differ:\n%s", where, file, d)
	}
}

// The schemas in docs/ equal the program's reports, so a new field must be documented.
func TestSchemasAreTheReports(t *testing.T) {
	for file, report := range map[string]any{
		"status.schema.json": Status{}, "check.schema.json": Check{}, "list.schema.json": List{},
		"ca.schema.json":   CA{},
		"peer.schema.json": Peer{}, "due.schema.json": Due{}, "domain.schema.json": Domain{},
	} {
		s := readSchema(t, file)
		conform(t, strings.TrimSuffix(file, ".schema.json"), reflect.TypeOf(report), s, file)
		if s.Properties["version"] == nil || s.Properties["version"].Const != 1.0 {
			t.Errorf("%s: the version is not the constant 1", file)
		}
	}
}

// words are the values of all string constants of a type in a directory.
func words(t *testing.T, dir, typeName string) []string {
	t.Helper()
	var out []string
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typeName {
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok {
						w, _ := strconv.Unquote(lit.Value)
						out = append(out, w)
					}
				}
			}
			return true
		})
	}
	return out
}

// The word lists in the schemas equal the program's constants.
func TestSchemasHaveTheWords(t *testing.T) {
	status, check, privateCA := readSchema(t, "status.schema.json"), readSchema(t, "check.schema.json"),
		readSchema(t, "ca.schema.json")
	domain := readSchema(t, "domain.schema.json")
	var statuses, severities []string
	for s := ca.Absent; s <= ca.Damaged; s++ {
		statuses = append(statuses, s.String())
	}
	for s := plan.Notice; s <= plan.Error; s++ {
		severities = append(severities, s.String())
	}
	for what, c := range map[string]struct{ code, schema []string }{
		"origin":   {words(t, ".", "Origin"), status.Defs["certificate"].Properties["origin"].Enum},
		"owner":    {words(t, "../../internal/plan", "Owner"), status.Defs["certificate"].Properties["owner"].Enum},
		"kind":     {words(t, "../../internal/plan", "Kind"), check.Defs["action"].Properties["kind"].Enum},
		"severity": {severities, check.Defs["problem"].Properties["severity"].Enum},
		"status":   {statuses, privateCA.Properties["status"].Enum},
		"verdict":  {words(t, "../../internal/sender", "Verdict"), domain.Properties["verdict"].Enum},
		"demand":   {words(t, "../../internal/sender", "Demand"), domain.Defs["host"].Properties["demand"].Enum},
		"mode":     {words(t, "../../internal/sender", "Mode"), domain.Defs["policy"].Properties["mode"].Enum},
		"signed":   {words(t, ".", "Signed"), domain.Properties["mx_signed"].Enum},
		"stage":    {words(t, "../../internal/dane", "Stage"), status.Defs["keyStage"].Properties["stage"].Enum},
		"step":     {words(t, "../../internal/dane", "StepWord"), status.Defs["keyStep"].Properties["step"].Enum},
		"seen": {[]string{plan.Proven, plan.StartedLater, plan.NoneRunning, plan.Unproven},
			status.Defs["sendmail"].Properties["seen"].Enum},
	} {
		slices.Sort(c.code)
		slices.Sort(c.schema)
		if d := cmp.Diff(c.code, c.schema); d != "" || len(c.code) == 0 {
			t.Errorf("%s: the program (-) and its schema (+) differ:\n%s", what, d)
		}
	}
}
