package plan_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// row is one observation and the decision about it. Each new case is a new row.
type row struct {
	name  string
	given given.World
	// do has the actions in their order: kind, reason and some details. says has the problems, worst first, with a +
	// after those that an action repairs. next is the time until the next look, and why it is due. notes has the parts
	// of the state that change.
	do, says, next, notes string
}

// rows are the rows of all tables.
var rows = slices.Concat(hostRows, askedRows, setRows, trustRows, caRows, memberRows, clockRows, sendmailRows,
	choreRows, pairRows, acmeRows, formerRows, fallbackRows, outlookRows, publicRows, tlsaRows, tlsaSettingsRows,
	fragileRows, daemonRows, tracesRows, tlsaFirstRows)

func TestTable(t *testing.T) {
	dump := os.Getenv("MAILCERTD_ROWS") // a file to which the decisions are written, to copy them into new rows
	got := map[string][]string{}
	for _, r := range rows {
		if got[r.name] != nil {
			t.Errorf("two rows are called %q", r.name)
		}
		before := image(t, r.given.Seen)
		p := r.given.Plan()
		if !reflect.DeepEqual(before, image(t, r.given.Seen)) {
			t.Errorf("%s: what was observed has changed", r.name)
		}
		if !reflect.DeepEqual(p, r.given.Plan()) {
			t.Errorf("%s: a second look at the same host decides otherwise", r.name)
		}
		if !p.Next.IsZero() && p.Next.Before(r.given.Now) {
			t.Errorf("%s: the next look was due at %s: the daemon looks without a rest", r.name, p.Next)
		}
		got[r.name] = []string{done(p), said(p), ahead(p, r.given.Now), noted(t, r.given.Seen.State, p.State)}
		for i, want := range []string{r.do, r.says, r.next, r.notes} {
			if dump == "" && got[r.name][i] != want {
				t.Errorf("%s: %s\n got %s\nwant %s", r.name,
					[...]string{"actions", "problems", "next look", "state"}[i],
					got[r.name][i], want)
			}
		}
	}
	if len(rows) < 200 {
		t.Errorf("%d rows", len(rows))
	}
	if dump != "" {
		data, err := json.MarshalIndent(got, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dump, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// image returns the state in the form in which it is stored.
func image(t *testing.T, o plan.Observed) string {
	data, err := json.Marshal(o.State)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// done writes the actions of a plan as a row has them.
func done(p plan.Plan) string {
	var out []string
	for _, a := range p.Actions {
		var text strings.Builder
		text.WriteString(string(a.Kind) + " " + string(a.Reason))
		switch a.Kind {
		case plan.Install:
			text.WriteString(":" + strings.TrimPrefix(a.Text.Base(), "install"))
			for _, c := range a.Change.Copies {
				text.WriteString(", a copy of " + c.Name)
				if c.Foreign {
					text.WriteString(" for good")
				}
			}
			if i := slices.IndexFunc(a.Change.Files, func(f plan.File) bool {
				return f.Source == plan.FromSelf &&
					f.Name == certdir.CertName
			}); i >= 0 {
				text.WriteString(", self-signed")
			}
			if a.Extra {
				text.WriteString(", extra")
			}
		case plan.StageKey:
			text.WriteString(" " + string(a.KeyType))
		case plan.Obtain:
			text.WriteString(over(*a.Request))
		case plan.Chmod:
			text.WriteString(fmt.Sprintf(" %04o %s", a.Mode, a.Path))
		case plan.Chown, plan.MakeDir:
			text.WriteString(" " + a.Path)
		case plan.Answer:
			if a.Hold != "" {
				text.WriteString(", signing nothing")
			}
		case plan.WriteCRL:
			if a.Signing != nil {
				text.WriteString(", by both clocks")
			}
		case plan.PruneBackup, plan.DeleteOldKey, plan.Clear:
			text.WriteString(strings.TrimRight(" "+a.ID, " "))
		}
		out = append(out, text.String())
	}
	whom := "ask "
	if p.Ask != nil && p.Ask.Fallback {
		whom = "ask the fallback "
	}
	if q := p.Ask; q != nil && q.Request != nil {
		again := ""
		if q.Lost {
			again = ", the same again"
		}
		out = append(out, whom+string(q.Reason)+over(*q.Request)+again)
	} else if q != nil {
		out = append(out, whom+string(q.Reason))
	}
	return strings.Join(out, "; ")
}

func over(r plan.Request) string {
	if r.Staged {
		return ", new key"
	}
	return ""
}

// said writes the problems of a plan as a row has them.
func said(p plan.Plan) string {
	var out []string
	for _, pr := range p.Problems {
		text := pr.Severity.String() + " " + string(pr.Reason)
		if pr.Repairable {
			text += "+"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// ahead writes the time of the next look as a row has it.
func ahead(p plan.Plan, now time.Time) string {
	if p.Next.IsZero() {
		return p.NextWhat
	}
	d := p.Next.Sub(now)
	in := d.Round(time.Second).String()
	if d > 48*time.Hour {
		in = fmt.Sprintf("%.1f days", d.Hours()/24)
	}
	return in + ": " + p.NextWhat
}

// noted writes which parts of the state change as a row has them.
func noted(t *testing.T, before, after state.State) string {
	var parts [2]map[string]any
	for i, s := range []state.State{before, after} {
		data, err := json.Marshal(s)
		if err == nil {
			err = json.Unmarshal(data, &parts[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(parts[1])) {
		if !reflect.DeepEqual(parts[0][k], parts[1][k]) {
			out = append(out, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(parts[0])) {
		if _, there := parts[1][k]; !there {
			out = append(out, "no "+k)
		}
	}
	return strings.Join(out, ", ")
}

// Every reason and every kind of action is in a row, except those that only other verbs use.
func TestTableIsWhole(t *testing.T) {
	elsewhere := map[string]bool{"installed": true}
	seen := map[string]bool{}
	for _, r := range rows {
		p := r.given.Plan()
		for _, a := range p.Actions {
			seen[string(a.Reason)], seen[string(a.Kind)] = true, true
		}
		for _, pr := range p.Problems {
			seen[string(pr.Reason)] = true
		}
		if p.Ask != nil {
			seen[string(p.Ask.Reason)] = true
		}
	}
	for _, file := range []string{"reason.go", "action.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Reason" && typ.Name != "Kind" {
				return true
			}
			word := strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`)
			if !seen[word] && !elsewhere[word] {
				t.Errorf("no row has %s (%s)", v.Names[0].Name, word)
			}
			return true
		})
	}
}
