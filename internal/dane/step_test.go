package dane

import "testing"

// Each step that is reported has a word with a sentence in the one table.
func TestStepsHaveWords(t *testing.T) {
	seen := map[StepWord]bool{}
	note := func(d Decision) {
		for _, s := range d.Steps {
			if s.Word == "" || s.What == "" {
				t.Errorf("%+v", s)
			}
			seen[s.Word] = true
		}
	}
	for _, mode := range []Mode{Update, Manual} {
		for _, why := range []Why{Rotation, Asked} {
			w := published(t, mode)
			w.in.Pairs[0].Want, w.in.Pairs[0].Staged = why, key("b")
			note(w.decide())
			w.in.Pairs[0].Staged = key("c") // somebody has replaced the next key
			note(w.decide())
			w.in.Pairs[0].Present = key("c")
			note(w.decide())
		}
		w := published(t, mode)
		w.in.Pairs[0].Present = key("b")
		note(w.decide())
		w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Present: key("e")})
		note(w.decide())
		w = published(t, mode)
		w.waiting()
		w.in.Pairs[0].Want, w.in.Memory = "", Memory{} // the state is lost
		w.look()
		note(w.last)
		w = published(t, mode)
		w.waiting()
		w.pass(2*hour, hour/12)
		w.in.Pairs[0].Present, w.in.Pairs[0].Staged, w.in.Pairs[0].Want = key("b"), Key{}, ""
		w.decide()
		w.pass(hour/2, hour/12)
		note(w.last)
	}
	for _, s := range stepSentences {
		if !seen[s.word] {
			t.Errorf("no step is %s", s.word)
		}
	}
}
