package keeper

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// oweNotify notes that a configured command is to be run for this set.
func oweNotify(st *state.State, argv []string, set string) {
	m := maps.Clone(st.Notify)
	if m == nil {
		m = map[string]*state.NotifyDebt{}
	}
	m[strings.Join(argv, " ")] = &state.NotifyDebt{Set: set}
	st.Notify = m
}

func (k *Keeper) notifyDue(st state.State) bool {
	for _, d := range st.Notify {
		if !k.o.Now().Before(d.Next) {
			return true
		}
	}
	return false
}

// notify runs the configured commands that are owed a run. One that fails is
// tried again with the backoff; one that is configured no more is forgotten.
func (k *Keeper) notify(ctx context.Context, r *Result) {
	before := r.Plan.State
	if len(before.Notify) == 0 {
		return
	}
	st := before.Clone()
	m := map[string]*state.NotifyDebt{}
	for _, argv := range k.cfg.Notify {
		line := strings.Join(argv, " ")
		d, owed := st.Notify[line]
		if !owed || len(argv) == 0 {
			continue
		}
		if k.o.Now().Before(d.Next) {
			m[line] = d
			continue
		}
		done := k.working("telling another program: "+line, k.o.NotifyFor)
		out, err := run(ctx, argv, k.o.NotifyFor)
		done()
		if err != nil && ctx.Err() != nil { // shutting down is nobody's failure: it is owed as before
			m[line] = d
			continue
		}
		if err == nil {
			k.log(Info, "told another program", "command", line)
			told := maps.Clone(st.Notified)
			if told == nil {
				told = map[string]string{}
			}
			told[line] = d.Set
			st.Notified = told
			continue
		}
		nd := *d
		nd.Attempts++
		nd.LastError = errors.Join(err, out).Error()
		nd.Next = k.o.Now().UTC().Truncate(time.Second).Add(state.Backoff(nd.Attempts))
		m[line] = &nd
		k.log(Fail, "a notify command failed", "reason", string(plan.NotifyOwed), "command", line, "error", nd.LastError, "next", nd.Next.Format(time.RFC3339))
	}
	st.Notify = m
	k.remember(before, st)
	r.Plan.State = st
}
