package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Code that wraps an error must have checked it before: fmt.Errorf prints %!w(<nil>) for a nil error. For each %w the
// function must have a condition on that very expression above it, unless the expression is an error that is never nil:
// a variable with the name of an error (ErrX, errX), or a call in the list below.
func TestWrappedErrorsAreLookedAt(t *testing.T) {
	for _, dir := range []string{"../internal", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
					for _, bad := range unlooked(set, f.Body) {
						t.Errorf("%s", bad)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// constant matches the names of such variables.
var constant = regexp.MustCompile(`\b(err|Err)[A-Z]`)

// never lists the calls and parameters that are never nil.
var never = []string{"orDirectory(", "why(", "reasonOf(", "unusable(", "errors.New(", "fmt.Errorf(", "refuse("}

func unlooked(set *token.FileSet, body *ast.BlockStmt) (bad []string) {
	text := func(n ast.Node) string {
		var b bytes.Buffer
		_ = printer.Fprint(&b, set, n)
		return b.String()
	}
	type condition struct {
		at   token.Pos
		text string
	}
	var conditions []condition
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			conditions = append(conditions, condition{n.Pos(), text(n.Cond)})
		case *ast.ForStmt:
			if n.Cond != nil {
				conditions = append(conditions, condition{n.Pos(), text(n.Cond)})
			}
		case *ast.CaseClause:
			for _, e := range n.List {
				conditions = append(conditions, condition{n.Pos(), text(e)})
			}
		case *ast.RangeStmt:
			conditions = append(conditions, condition{n.Pos(), text(n.X)})
		}
		return true
	})
	ast.Inspect(body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || text(call.Fun) != "fmt.Errorf" || len(call.Args) < 2 || call.Ellipsis.IsValid() {
			return true
		}
		lit, ok := call.Args[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		format, _ := strconv.Unquote(lit.Value)
		verb := 0
		for i := 0; i+1 < len(format); i++ {
			if format[i] != '%' {
				continue
			}
			i++
			for strings.ContainsRune("0123456789.+-# *", rune(format[i])) && i+1 < len(format) {
				i++
			}
			if format[i] == '%' {
				continue
			}
			if verb++; format[i] != 'w' || verb >= len(call.Args) {
				continue
			}
			e := text(call.Args[verb])
			name := e[strings.LastIndexByte(e, '.')+1:]
			known := strings.HasPrefix(name, "Err") && name != "Err" ||
				strings.HasPrefix(name, "err") && len(name) > 3 && name[3] < 'a' ||
				strings.HasPrefix(e, "syscall.") || strings.HasPrefix(e, "unix.")
			if strings.HasPrefix(e, "errors.Join(") { // one error that is never nil is enough
				known = known || constant.MatchString(e)
			}
			owner := e[:max(0, strings.LastIndexByte(e, '.'))]
			for _, call := range never {
				known = known || strings.HasPrefix(e, call) || strings.Contains(e, "."+call)
			}
			for _, c := range conditions {
				if of, err := strings.CutSuffix(e, "Err"); err && c.at < call.Pos() { // x.unreadErr: why x.unread
					known = known || strings.Contains(c.text, of)
				}
				known = known || c.at < call.Pos() && owner != "" && strings.Contains(c.text, owner+".Unread")
				known = known || c.at < call.Pos() &&
					strings.Contains(c.text, strings.TrimSuffix(strings.TrimPrefix(e, "errors.Join("), "...)"))
			}
			if !known {
				bad = append(bad, set.Position(call.Pos()).String()+": %w of "+e+", which nothing has looked at")
			}
		}
		return true
	})
	return bad
}
