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

// readers are the functions that look at the disk past the seam of
// internal/durable, where a test can let every read fail and an error is never
// taken for a missing file.
var readers = []string{"os.Stat", "os.Lstat", "os.ReadFile", "os.ReadDir", "os.Open", "os.Readlink", "filepath.EvalSymlinks", "filepath.Glob",
	"filepath.Walk", "filepath.WalkDir", "ioutil.ReadFile", "ioutil.ReadDir"}

// past are the files that may: what they read is no file that is kept here.
var past = map[string]string{
	"internal/mta/process_linux.go": "/proc",
	"internal/plan/pickup.go":       "where a name in sendmail.cf leads to",
	"internal/mta/identity.go":      "which program a path runs",
	"internal/issuer/inbox.go":      "the unprivileged side, which waits for one file",
}

func TestReadsHaveOneSeam(t *testing.T) {
	err := filepath.WalkDir("../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel := strings.TrimPrefix(path, "../")
		if strings.HasPrefix(rel, "internal/durable/") || past[rel] != "" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && slices.Contains(readers, pkg.Name+"."+sel.Sel.Name) {
					t.Errorf("%s: %s.%s", rel, pkg.Name, sel.Sel.Name)
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
