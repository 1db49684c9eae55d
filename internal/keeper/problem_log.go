package keeper

import "mailcertd/internal/plan"

// problemLog logs problems once, and not at each look. told has those that were logged already, by reason, path and
// text.
type problemLog struct {
	*base
	told map[string]bool
}

// tell logs each problem when it first appears and when its text changes. A problem that disappears is forgotten, so
// that it is logged when it comes again.
func (l *problemLog) tell(p plan.Plan) {
	seen := map[string]bool{}
	for _, pr := range p.Problems {
		// Each attempt to repair it, to publish the records, or to remove them, has been logged.
		if pr.Repairable || pr.Reason == plan.StepFailed || pr.Reason == plan.TLSAUpdate ||
			pr.Reason == plan.ACMETraces {
			continue
		}
		// One path may have two problems with the same reason.
		id := string(pr.Reason) + "\x00" + pr.Path + "\x00" + pr.Text
		seen[id] = true
		if l.told[id] {
			continue
		}
		l.told[id] = true
		kv := []any{"reason", string(pr.Reason)}
		if pr.Path != "" {
			kv = append(kv, "path", pr.Path)
		}
		if pr.Hint != "" {
			kv = append(kv, "hint", pr.Hint)
		}
		level := []Level{Info, Warn, Fail}[pr.Severity]
		if pr.Reason == plan.SendmailDown { // at every boot sendmail starts after mailcertd, so this is normal
			level = Debug
		}
		l.log(level, pr.Text, kv...)
	}
	for id := range l.told {
		if !seen[id] {
			delete(l.told, id)
		}
	}
}
