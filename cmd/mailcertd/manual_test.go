package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailcertd/internal/plan"
	"mailcertd/man"
)

// same fails the test if the manual and the code differ, in either direction.
func same(t *testing.T, what string, manual, code []string) {
	t.Helper()
	slices.Sort(manual)
	slices.Sort(code)
	if len(code) == 0 {
		t.Errorf("%s: the code has none, so this test looks in the wrong place", what)
	}
	if d := cmp.Diff(manual, code); d != "" {
		t.Errorf("%s: the manual (-) and the code (+) differ:\n%s", what, d)
	}
}

// items returns the headings of the tagged lists in a section, without ".It ".
func items(t *testing.T, section, prefix string) []string {
	t.Helper()
	source := man.Section(section)
	if source == "" {
		t.Fatalf("the manual has no section %s", section)
	}
	var out []string
	for line := range strings.SplitSeq(source, "\n") {
		if rest, ok := strings.CutPrefix(line, ".It "+prefix); ok {
			out = append(out, rest)
		}
	}
	return out
}

// option matches a flag in a heading, with its argument.
var option = regexp.MustCompile(`Fl (-?[\w-]+)`)

func optionsOf(heading string) []string {
	argument := ""
	if strings.Contains(heading, "Ar ") {
		argument = " ARG"
	}
	var out []string
	for _, m := range option.FindAllStringSubmatch(heading, -1) {
		out = append(out, "-"+m[1]+argument)
	}
	return out
}

// manualVerbs returns the verbs of COMMANDS, each with its options.
func manualVerbs(t *testing.T) []string {
	t.Helper()
	var out, current []string
	headings := false // the line before was a verb too, so the text that follows describes both
	for line := range strings.SplitSeq(man.Section("COMMANDS"), "\n") {
		heading, isVerb := strings.CutPrefix(line, ".It Cm ")
		switch {
		case isVerb:
			verb := strings.Fields(regexp.MustCompile(` (Op|Ar|Fl|\.\.\.)\b.*`).ReplaceAllString(heading, ""))
			if !headings {
				current = nil
			}
			current = append(current, strings.Join(verb, " "))
			out = append(out, strings.Join(verb, " "))
		case strings.HasPrefix(line, ".It Fl "):
			for _, v := range current {
				for _, o := range optionsOf(line) {
					out = append(out, v+" "+o)
				}
			}
		}
		headings = isVerb
	}
	return out
}

func codeOptions(set *pflag.FlagSet) []string {
	var out []string
	set.VisitAll(func(f *pflag.Flag) {
		argument := ""
		if f.NoOptDefVal == "" {
			argument = " ARG"
		}
		out = append(out, "--"+f.Name+argument)
		if f.Shorthand != "" {
			out = append(out, "-"+f.Shorthand+argument)
		}
	})
	return out
}

// tree returns the commands as a user sees them.
func tree() *cobra.Command {
	root := newApp(strings.NewReader(""), io.Discard, io.Discard).command()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	return root
}

// The manual describes every verb with every option, and nothing else.
func TestManualHasEveryVerb(t *testing.T) {
	var code []string
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		verb := strings.TrimPrefix(c.CommandPath(), "mailcertd ")
		if !c.HasParent() || c.HasSubCommands() || c.Hidden {
			return
		}
		code = append(code, verb)
		for _, o := range codeOptions(c.LocalNonPersistentFlags()) {
			if o != "--help" && o != "-h" {
				code = append(code, verb+" "+o)
			}
		}
	}
	root := tree()
	walk(root)
	same(t, "verbs and options", manualVerbs(t), code)

	var global []string
	for _, h := range items(t, "DESCRIPTION", "") {
		global = append(global, optionsOf(h)...)
	}
	same(t, "options of every verb", global, append(codeOptions(root.PersistentFlags()), "--help", "-h"))
	for _, o := range codeOptions(root.PersistentFlags()) {
		if name := strings.TrimSuffix(o[1:], " ARG"); !strings.Contains(man.Section("SYNOPSIS"), "Fl "+name+" ") {
			t.Errorf("SYNOPSIS lacks %s", o)
		}
	}
}

// sources parses every file of the program, without the tests.
func sources(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	for _, top := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err == nil {
				visit(path, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// typeName returns the name of a type, with or without its package.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func literal(e ast.Expr) string {
	b, ok := e.(*ast.BasicLit)
	if !ok || b.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(b.Value)
	return s
}

// constants returns the values of every string of that type in the program: strings that are declared, converted, or
// put into a field of that name.
func constants(t *testing.T, kind string) []string {
	t.Helper()
	var out []string
	add := func(s string) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	sources(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if typeName(n.Type) == kind {
					for _, v := range n.Values {
						add(literal(v))
					}
				}
			case *ast.CallExpr:
				if typeName(n.Fun) == kind && len(n.Args) == 1 {
					add(literal(n.Args[0]))
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == kind && strings.Contains(path, "/plan/") {
					add(literal(n.Value))
				}
			}
			return true
		})
	})
	return out
}

// The manual explains every reason, and no word that is not a reason.
func TestManualHasEveryReason(t *testing.T) {
	var manual []string
	for _, r := range man.Reasons() {
		manual = append(manual, r.Name)
	}
	same(t, "reasons", manual, constants(t, "Reason"))

	var faults []string
	_, list, _ := strings.Cut(man.Section("DIAGNOSTICS"), "\n.Ss Faults of the CA directory\n")
	list, _, _ = strings.Cut(list, "\n.Ss ")
	for _, entry := range strings.Split(list, "\n.It\n")[1:] {
		text := strings.ReplaceAll(entry, "\n", " ")
		faults = append(faults, text[:strings.LastIndex(text, ": ")])
	}
	same(t, "faults of the CA directory", faults, constants(t, "FaultKind"))

	for _, word := range []string{plan.Proven, plan.StartedLater, plan.NoneRunning, plan.Unproven, "pending"} {
		if !strings.Contains(man.Section("DIAGNOSTICS"), "\n.Dq "+word+" ,\n") {
			t.Errorf("DIAGNOSTICS lacks the word %q", word)
		}
	}
}

func TestManualHasEveryStatus(t *testing.T) {
	var code []string
	sources(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if ok && strings.HasSuffix(path, "mailcertd/app.go") && strings.HasPrefix(v.Names[0].Name, "exit") {
				code = append(code, v.Values[0].(*ast.BasicLit).Value)
			}
			return true
		})
	})
	same(t, "exit statuses", items(t, "EXIT STATUS", ""), code)
}

// The manual describes every variable of the environment that the program itself reads. PATH and TZ are read by the
// libraries that it uses.
func TestManualHasTheEnvironment(t *testing.T) {
	code := []string{"PATH", "TZ"}
	sources(t, func(path string, file *ast.File) {
		if strings.HasPrefix(filepath.Base(path), "arm_") || // these files are in no binary that is installed
			strings.Contains(path, "/openssltest/") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && len(c.Args) == 1 {
				if name := typeName(c.Fun); name == "Getenv" || name == "LookupEnv" {
					code = append(code, literal(c.Args[0]))
				}
			}
			return true
		})
	})
	same(t, "environment", items(t, "ENVIRONMENT", "Ev "), code)
}

// readFile reads a file of this project.
func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// found returns the first groups of all matches, each once.
func found(expr, text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

func TestManualHasTheService(t *testing.T) {
	script := readFile(t, "rc.d/mailcertd")
	variables := items(t, "RC.CONF VARIABLES", "Va ")
	same(t, "rc.conf variables, as the script's header has them", slices.Clone(variables),
		found(`(?m)^# (mailcertd_\w+) \(`, script))
	for _, v := range found(`(?m)^: \$\{(\w+):?=`, script) {
		if !slices.Contains(variables, v) {
			t.Errorf("the script has a default for %s, and the manual does not describe it", v)
		}
	}
	same(t, "commands of the service", items(t, "RC.CONF VARIABLES", "Ic service mailcertd "),
		strings.Fields(found(`(?m)^extra_commands="(.*)"`, script)[0]))
	if data, err := os.ReadFile("../../etc/periodic/security/480.mailcertd"); err == nil {
		same(t, "periodic.conf variables", items(t, "PERIODIC", "Va "),
			found(`(security_status_mailcertd_\w+)`, string(data)))
	}
}
