package report

import (
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

// DANE is what is known of the TLSA records of this host, and how far the changes of its keys are.
type DANE struct {
	Publish string     `json:"publish"` // none, manual, update
	Looked  *time.Time `json:"looked,omitempty"`
	Next    *time.Time `json:"next_look,omitempty"` // of the daemon, at the latest
	Names   []DANEName `json:"names"`
	Stages  []KeyStage `json:"stages"`          // how far the changes of keys are that are under way
	Changes []KeyStep  `json:"changes"`         // the steps of all changes of keys, in their order
	Add     []string   `json:"add"`             // records to be added, as lines of a zone file
	Remove  []string   `json:"remove"`          // records to be removed
	Error   string     `json:"error,omitempty"` // why the records could not be published
}

// DANEName is one name of TLSA records.
type DANEName struct {
	Name    string      `json:"name"`
	Zone    string      `json:"zone,omitempty"`
	Signed  dane.Signed `json:"signed"`           // yes, no, wrong, "" where it is not known
	Servers int         `json:"servers"`          // name servers, each of their addresses, that have answered
	Records []string    `json:"records"`          // those that any of them has
	Silent  []string    `json:"silent,omitempty"` // the others, each with the reason
	Error   string      `json:"error,omitempty"`  // why the last look brought nothing
}

// KeyStage is how far the change of a pair's key is.
type KeyStage struct {
	Pair  string     `json:"pair"`
	Stage dane.Stage `json:"stage"`
}

// KeyStep is one step of the change of a key.
type KeyStep struct {
	Pair string        `json:"pair"`
	Step dane.StepWord `json:"step"`
	What string        `json:"what"`         // the same as a sentence
	At   *time.Time    `json:"at,omitempty"` // when it was done, or will be at the earliest
	Done bool          `json:"done"`
}

// describeDANE returns nil where nobody publishes for this host and there are no records.
func describeDANE(cfg config.Config, r keeper.Result) *DANE {
	d := r.Plan.TLSA
	if !d.Governed && len(d.Notes) == 0 && cfg.DANE.Publish == config.PublishNone {
		return nil
	}
	out := &DANE{Publish: cfg.DANE.Publish, Looked: moment(d.Memory.Looked), Next: moment(d.LookAt),
		Names: []DANEName{}, Stages: []KeyStage{},
		Changes: []KeyStep{}, Add: []string{}, Remove: []string{}}
	for _, n := range d.Memory.Names {
		one := DANEName{Name: n.Name, Zone: n.Zone, Signed: n.Signed, Records: []string{}, Error: n.Err}
		for _, rec := range n.Records() {
			one.Records = append(one.Records, rec.String())
		}
		for _, s := range n.Servers {
			if s.Err == "" {
				one.Servers++
			} else if s.Beside == "" {
				one.Silent = append(one.Silent, s.String()+": "+s.Err)
			}
		}
		out.Names = append(out.Names, one)
	}
	for _, c := range certdir.Pairs() {
		if stage := d.Stage(c.Name); stage != "" {
			out.Stages = append(out.Stages, KeyStage{c.Name, stage})
		}
	}
	for _, s := range d.Steps {
		out.Changes = append(out.Changes,
			KeyStep{Pair: s.Pair, Step: s.Word, What: s.What, At: moment(s.At), Done: s.Done})
	}
	for _, l := range d.Add {
		out.Add = append(out.Add, l.String())
	}
	for _, l := range slices.Concat(d.Remove, d.Former) {
		out.Remove = append(out.Remove, l.String())
	}
	if f, failed := r.Plan.State.Failures[plan.TLSAFailure]; failed && len(d.Edits) > 0 {
		out.Error = f.Error
	}
	return out
}
