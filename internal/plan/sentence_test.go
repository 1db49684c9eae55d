package plan_test

import (
	"strings"
	"testing"

	"mailcertd/internal/plan"
)

// Each step of each row, and so each kind of action, has four different sentences: for a step that is to be done, in
// progress, done or failed.
func TestSentences(t *testing.T) {
	same := map[string]bool{"put": true} // verbs whose past form is the base form
	check := func(row, what string, s plan.Sentence) {
		t.Helper()
		if len(s) == 0 {
			t.Errorf("%s: %s has no sentence", row, what)
			return
		}
		for _, c := range s {
			one := plan.Sentence{c}
			base, past, doing := one.Base(), one.Did(), one.Doing()
			verb, _, _ := strings.Cut(base, " ")
			if strings.HasPrefix(past, verb+" ") && !same[verb] {
				t.Errorf("%s: %q tells of what is done, and %q of what is to be done", row, past, base)
			}
			first, object, _ := strings.Cut(doing, " ")
			if !strings.HasSuffix(first, "ing") || strings.TrimSpace(object) == "" {
				t.Errorf("%s: %q does not tell what is being done", row, doing)
			}
			for form, text := range map[string]string{"would " + base: one.Would(),
				"could not " + base: one.CouldNot()} {
				if text != form {
					t.Errorf("%s: %q, want %q", row, text, form)
				}
			}
		}
	}
	for _, r := range rows {
		p := r.given.Plan()
		for _, a := range p.Actions {
			check(r.name, string(a.Kind), a.Text)
		}
		if p.Ask != nil {
			check(r.name, "the question", p.Ask.Text)
		}
	}
	check("restore", "backup", plan.ToRestore.With("backup 1"))
}

// The sentence of a change that installs and removes files has a clause for both, in the same form.
func TestSentenceOfTwo(t *testing.T) {
	s := append(plan.ToInstall.With("host.cert, 1.0"), plan.ToRestore.With("2.0")...)
	for got, want := range map[string]string{
		s.Would():    "would install host.cert, 1.0 and restore 2.0",
		s.Did():      "installed host.cert, 1.0 and restored 2.0",
		s.Doing():    "installing host.cert, 1.0 and restoring 2.0",
		s.CouldNot(): "could not install host.cert, 1.0 and restore 2.0",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if data, err := s.MarshalText(); err != nil || string(data) != s.Base() {
		t.Errorf("%q, %v", data, err)
	}
}
