package plan_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// mostMethods bounds the methods of a type: one with more of them has several subjects.
const mostMethods = 25

// makers fill in the facts of a look. Every other function reads them alone.
var makers = map[string]bool{"assess": true, "newPair": true}

// A section and a predicate change nothing that they are given: neither the facts of the look nor what another section
// has found. So their order in Make is the only order there is.
func TestSectionsChangeNothing(t *testing.T) {
	methods := map[string]int{}
	set := token.NewFileSet()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, is := d.(*ast.FuncDecl)
			if !is {
				continue
			}
			given := f.Type.Params.List
			if f.Recv != nil {
				methods[typeName(f.Recv.List[0].Type)]++
				given = append(given[:len(given):len(given)], f.Recv.List...)
			}
			if makers[f.Name.Name] {
				continue
			}
			names := map[string]bool{}
			for _, field := range given {
				of := typeName(field.Type)
				if facts[of] || found[of] && (f.Recv == nil || field != f.Recv.List[0]) {
					for _, n := range field.Names {
						names[n.Name] = true
					}
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				for _, changed := range targets(n) {
					if name, part := root(changed); part && names[name] {
						t.Errorf("%s: %s changes %s, which it is given", set.Position(n.Pos()), f.Name.Name, name)
					}
				}
				return true
			})
		}
	}
	for name, n := range methods {
		if n > mostMethods {
			t.Errorf("%s has %d methods, at most %d", name, n, mostMethods)
		}
	}
	if methods["pair"] == 0 {
		t.Error("no method of pair was found")
	}
}

// facts are the types that hold the facts of a look.
var facts = map[string]bool{"assessment": true, "pair": true, "pairIssuer": true, "installed": true, "judgement": true,
	"hostNames": true, "demand": true, "Observed": true, "DueFacts": true}

// found are the types of what a section finds: it may fill in its own, and not that of another section.
var found = map[string]bool{"finding": true, "outcome": true}

// targets are the expressions that n changes.
func targets(n ast.Node) []ast.Expr {
	switch s := n.(type) {
	case *ast.AssignStmt:
		return s.Lhs
	case *ast.IncDecStmt:
		return []ast.Expr{s.X}
	case *ast.UnaryExpr:
		if s.Op == token.AND { // to change it through the pointer
			return []ast.Expr{s.X}
		}
	case *ast.CallExpr:
		if f, is := s.Fun.(*ast.Ident); is && (f.Name == "delete" || f.Name == "clear") {
			return []ast.Expr{&ast.IndexExpr{X: s.Args[0]}}
		}
	}
	return nil
}

// root is the variable at the beginning of an expression; part says that the expression is a part of it.
func root(e ast.Expr) (name string, part bool) {
	for {
		switch x := e.(type) {
		case *ast.SelectorExpr:
			e, part = x.X, true
		case *ast.IndexExpr:
			e, part = x.X, true
		case *ast.StarExpr:
			e, part = x.X, true
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			return x.Name, part
		default:
			return "", false
		}
	}
}

func typeName(e ast.Expr) string {
	if p, is := e.(*ast.StarExpr); is {
		e = p.X
	}
	if i, is := e.(*ast.Ident); is {
		return i.Name
	}
	return ""
}
