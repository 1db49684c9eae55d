package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readers are the functions that read the disk without internal/durable. Every read should go through durable, where a
// test can make it fail, so that an error is never taken for a missing file.
var readers = []string{"os.Stat", "os.Lstat", "os.ReadFile", "os.ReadDir", "os.Open", "os.Readlink",
	"filepath.EvalSymlinks", "filepath.Glob",
	"filepath.Walk", "filepath.WalkDir", "ioutil.ReadFile", "ioutil.ReadDir", "os.OpenFile", "os.DirFS", "os.OpenRoot",
	"unix.Open", "unix.Stat",
	"unix.Lstat", "syscall.Open", "syscall.Stat", "syscall.Lstat"}

// past lists the files that may call them, each with the reason.
var past = map[string]string{
	"internal/mta/process_linux.go":   "/proc",
	"internal/issuer/acme/holder.go":  "/proc",
	"internal/issuer/acme/webroot.go": "a web server's directory: one file that is soon removed",
	"internal/mta/identity.go":        "which program a path runs",
	"internal/inbox/inbox.go":         "the unprivileged side, which makes one file",
	"cmd/mailcertd/terminal.go":       "/dev/tty",
	"internal/watch/sweep.go":         "what has changed: an error there means look again",
	"cmd/mailcertd/arm_soak.go":       "the list of a test",
	"cmd/mailcertd/arm_crash.go":      "the list of a test",
	"cmd/mailcertd/arm_fault.go":      "the list of a test",
}

func TestReadsHaveOneSeam(t *testing.T) {
	used := map[string]bool{}
	see := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel := strings.TrimPrefix(path, "../")
		if strings.HasPrefix(rel, "internal/durable/") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && slices.Contains(readers, pkg.Name+"."+sel.Sel.Name) {
					if used[rel] = true; past[rel] == "" {
						t.Errorf("%s: %s.%s", rel, pkg.Name, sel.Sel.Name)
					}
				}
			}
			return true
		})
		return nil
	}
	for _, dir := range []string{"../internal", "../cmd"} {
		if err := filepath.WalkDir(dir, see); err != nil {
			t.Fatal(err)
		}
	}
	for rel := range past {
		if !used[rel] {
			t.Errorf("%s needs no exception any more", rel)
		}
	}
}
