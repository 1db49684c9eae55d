package report

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// CA is `ca show --json`, version 1.
type CA struct {
	Version     int          `json:"version"`
	Dir         string       `json:"dir"`
	Status      string       `json:"status"`          // absent, unfinished, complete, damaged
	Error       string       `json:"error,omitempty"` // why the CA cannot be read; the other fields are empty then
	Hint        string       `json:"hint,omitempty"`  // what a person can do about Error
	Generations []Generation `json:"generations"`
	// hex: the serial that `openssl ca` takes next where it counts; mailcertd draws its own at random
	NextSerial string     `json:"next_serial,omitempty"`
	Valid      int        `json:"valid"` // certificates by status in index.txt
	Revoked    int        `json:"revoked"`
	Expired    int        `json:"expired"`
	NextDue    *time.Time `json:"next_generation_due,omitempty"`
	Faults     []string   `json:"faults"`
	Hosts      []Member   `json:"hosts"`   // the members
	Waiting    []string   `json:"waiting"` // members for which the next generation waits
	Silent     []string   `json:"silent"`  // members without a request for 30 days, for which it does not wait
	Deadline   *time.Time `json:"next_generation_deadline,omitempty"`
	CRLEnds    *time.Time `json:"crl_ends,omitempty"`
	Issuer     string     `json:"access_issuer,omitempty"`  // the key for sendmail's access map
	Subject    string     `json:"access_subject,omitempty"` // the same for this host's certificate
}

// Member is a host that is enrolled at this CA. Seen is when its last request came; nil: none came yet.
type Member struct {
	Name     string     `json:"name"`
	Enrolled time.Time  `json:"enrolled"`
	Seen     *time.Time `json:"seen,omitempty"`
}

// Generation is one key and certificate of the CA. One is Current, at most one is Next, all others are older.
type Generation struct {
	Current   bool      `json:"current"`
	Next      bool      `json:"next"` // waits to sign in place of the current one
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`      // as in sendmail's CERTIssuer:
	Text      string    `json:"subject_text"` // the same, readable
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// LastLeaf is when the last certificate of an older generation expires.
	LastLeaf  *time.Time `json:"last_certificate_ends,omitempty"`
	Key       string     `json:"key"`
	Encrypted bool       `json:"encrypted"`
	Hash      string     `json:"hash"` // OpenSSL's subject hash
}

// NewCA describes this host's CA.
func NewCA(cfg config.Config, o ca.Observed, now time.Time) CA {
	rep, _ := newCA(cfg, o, now, 0)
	return rep
}

// newCA is NewCA, and also returns the valid certificates that expire first, at most that many: both come from one pass
// over the database.
func newCA(cfg config.Config, o ca.Observed, now time.Time, most int) (CA, []ca.Listed) {
	rep := CA{Version: 1, Dir: cfg.CA.Dir, Status: o.Status.String(), Generations: []Generation{}, Faults: []string{},
		Hosts: []Member{}}
	if err := o.Unread(); err != nil {
		rep.Error = err.Error()
		if errors.Is(err, fs.ErrPermission) {
			rep.Hint = "run this as root"
		}
	}
	for _, m := range o.Members {
		h := Member{Name: m.Name, Enrolled: m.Enrolled}
		if !m.Seen.IsZero() {
			h.Seen = &m.Seen
		}
		rep.Hosts = append(rep.Hosts, h)
	}
	waiting, silent := o.Waiting(now)
	rep.Waiting, rep.Silent = NonNil(waiting), NonNil(silent)
	if end := o.CRL.Ends(); !end.IsZero() {
		rep.CRLEnds = &end
	}
	if c := o.Current.Cert; c != nil {
		rep.Issuer = "CERTIssuer:" + mta.AccessKey(pki.OneLine(c.RawSubject))
	}
	if o.HasNext() && o.Current.Cert != nil {
		rep.Deadline = moment(plan.PromoteDeadline(o.Current.Cert.NotAfter, cfg.Validity.Days))
	}
	for i, g := range append([]ca.Generation{o.Current, o.Next}, o.Older...) {
		if g.Cert == nil {
			continue
		}
		d := Generation{Current: i == 0, Next: i == 1, SHA256: pki.Fingerprint(g.Cert),
			Subject: pki.OneLine(g.Cert.RawSubject), Text: pki.Readable(g.Cert.RawSubject),
			LastLeaf: moment(g.LastLeaf), NotBefore: g.Cert.NotBefore.UTC(), NotAfter: g.Cert.NotAfter.UTC(),
			Key: string(pki.TypeOf(g.Cert.PublicKey)), Hash: pki.HashName(g.Cert.RawSubject, 0), Encrypted: g.Locked}
		if i == 0 {
			rep.NextDue = moment(plan.GenerationDue(g.Cert.NotBefore, g.Cert.NotAfter))
		}
		rep.Generations = append(rep.Generations, d)
	}
	if o.Serial != nil {
		rep.NextSerial = ca.FormatSerial(o.Serial)
	}
	n, next, err := ca.Overview(o, now, most)
	if err != nil && rep.Error == "" {
		rep.Error = err.Error()
	}
	rep.Valid, rep.Expired, rep.Revoked = n.Valid, n.Expired, n.Revoked
	for _, f := range o.Faults {
		rep.Faults = append(rep.Faults, fmt.Sprintf("%s: %s", f.Path, f.Kind))
	}
	return rep, next
}
