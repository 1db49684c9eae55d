package test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed lists which rooms each room may use; it may use no other. The picture in ARCHITECTURE.md and floors give the
// direction.
var allowed = map[string][]string{
	"ca":      {"durable", "pki", "text"},
	"certdir": {"durable", "pki"},
	"command": {},
	"config":  {"dh", "durable", "pki"},
	"dane":    {"text"},
	"dh":      {},
	"dns":     {"durable", "text"},
	"durable": {},
	"inbox":   {"durable"},
	"issuer":  {"pki", "text"},
	"keeper": {"ca", "certdir", "command", "config", "dane", "dh", "dns", "durable", "inbox", "issuer", "issuer/acme",
		"issuer/ssh", "mta", "parcel", "pickup", "pki", "plan", "state"},
	"mta":    {"command", "durable", "pki", "text"},
	"page":   {"ca", "certdir", "config", "dane", "mta", "plan", "report", "sender", "text"},
	"parcel": {"durable", "pki"},
	"pickup": {"ca", "certdir", "command", "durable", "mta", "pki", "plan", "state"},
	"pki":    {},
	"plan": {"ca", "certdir", "config", "dane", "dh", "durable", "inbox", "issuer", "mta", "pki", "state",
		"text"},
	"rcd":    {"text", "watch"},
	"report": {"ca", "certdir", "config", "dane", "dh", "issuer", "keeper", "mta", "pickup", "pki", "plan", "sender"},
	"sender": {"dane", "mta", "pki", "text"},
	"state":  {"dane", "durable"},
	"survey": {"dane", "dns", "mta", "sender"},
	"text":   {},
	"watch":  {},

	"issuer/acme": {"command", "issuer", "pki", "text"},
	"issuer/ssh":  {"command", "issuer", "text"},

	// Only tests use these.
	"openssltest": {},
	"plan/given": {"ca", "certdir", "config", "dane", "dh", "durable", "inbox", "issuer", "mta", "pki", "plan",
		"state"},
}

// floors are the rooms from the top to the bottom. A room may use only rooms on lower floors: page renders the values
// of report, and pickup carries out what plan has decided, never the other way round.
var floors = [][]string{
	{"page", "rcd"},
	{"report", "watch"},
	{"keeper"},
	{"pickup", "plan/given", "survey"},
	{"plan", "sender"},
	{"ca", "certdir", "config", "inbox", "issuer/acme", "issuer/ssh", "mta", "parcel", "state"},
	{"dane", "dns", "issuer"},
	{"command", "dh", "durable", "openssltest", "pki", "text"},
}

func TestImportsGoDown(t *testing.T) {
	floor := map[string]int{}
	for i, rooms := range floors {
		for _, room := range rooms {
			floor[room] = i + 1
		}
	}
	for room, may := range allowed {
		if floor[room] == 0 {
			t.Errorf("%s is on no floor", room)
		}
		for _, other := range may {
			if floor[other] <= floor[room] {
				t.Errorf("%s may use %s, which is not below it", room, other)
			}
		}
	}
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./internal/...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec, seen := json.NewDecoder(bytes.NewReader(out)), 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		seen++
		room := strings.TrimPrefix(p.ImportPath, "mailcertd/internal/")
		may, known := allowed[room]
		if !known {
			t.Errorf("%s: a room that ARCHITECTURE.md does not know", room)
		}
		for _, i := range p.Imports {
			other, ours := strings.CutPrefix(i, "mailcertd/internal/")
			if i == "mailcertd/man" {
				t.Errorf("%s uses the manual: cmd alone does", room)
			}
			if ours && !slices.Contains(may, other) {
				t.Errorf("%s uses %s", room, other)
			}
			if (room == "plan" || room == "dane" || room == "sender") &&
				slices.Contains([]string{"os", "net", "net/http", "math/rand", "crypto/rand", "os/exec",
					"github.com/hashicorp/go-hclog"}, i) {
				t.Errorf("%s is pure, and uses %s", room, i)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d rooms, %d known", seen, len(allowed))
	}
}

// Each file that ARCHITECTURE.md and docs/decisions.md name exists. A name without a room is in the room before it.
func TestFilesOfArchitecture(t *testing.T) {
	for _, page := range []string{"../ARCHITECTURE.md", "../docs/decisions.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		room := ""
		for _, name := range regexp.MustCompile(`[a-z_]+(/[a-z_]+)*\.go\b`).FindAllString(string(text), -1) {
			if strings.Contains(name, "/") {
				room = filepath.Dir(name)
			}
			path := filepath.Join("..", "internal", room, filepath.Base(name))
			if room == "test" {
				path = filepath.Join("..", name)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s names %s: %v", page, name, err)
			}
		}
	}
}

// Only cmd reads the clock and the environment; other packages get the time as a parameter. Waiting for a network, a
// child process or the kernel is no decision, so those packages may read the clock.
func TestNoClock(t *testing.T) {
	waiting := []string{"internal/mta/probe.go", "internal/mta/openssl.go", "internal/watch/watch.go",
		"internal/rcd/log.go", "internal/openssltest/openssl.go"}
	err := filepath.WalkDir("../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			if pkg == nil {
				return true
			}
			switch name := pkg.Name + "." + sel.Sel.Name; name {
			case "time.Now", "time.Since", "os.Getenv", "os.LookupEnv":
				if !slices.Contains(waiting, strings.TrimPrefix(path, "../")) {
					t.Errorf("%s: %s", path, name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// All programs are run by one package, so that each run has its limits of time and output.
func TestOneRoomRunsPrograms(t *testing.T) {
	for _, dir := range []string{"../internal", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				strings.Contains(path, "/command/") || strings.Contains(path, "/openssltest/") {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte("exec.Command")) {
				t.Errorf("%s runs a program by itself, not with internal/command", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
