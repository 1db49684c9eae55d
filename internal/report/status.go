// Package report holds the values that status, check, list and `status --due` show: the JSON and the metrics are made
// here, and package page draws them for people.
package report

import (
	"time"

	"mailcertd/internal/plan"
)

// Status is the report of `status`: its text, its JSON (version 1, docs/status.schema.json) and its metrics are made
// from it. Within a version fields may be added; the version rises when a field is renamed, removed or changes its
// meaning. Times are UTC, RFC 3339.
type Status struct {
	Version     int            `json:"version"`
	At          time.Time      `json:"at"`      // the time of the report
	Program     string         `json:"program"` // version of mailcertd
	Name        string         `json:"name"`
	Offered     bool           `json:"starttls_offered"` // by sendmail's rules, with the installed files
	Certificate *Certificate   `json:"certificate"`      // the host's own pair
	Key         string         `json:"key,omitempty"`
	TLSA        string         `json:"tlsa,omitempty"` // RFC 7672: 3 1 1 …
	Pairs       []Pair         `json:"pairs"`          // pairs that are configured or exist, the host's own first
	Trust       []string       `json:"trust"`          // subjects in cacert.pem
	Trusted     []Trusted      `json:"trusted"`        // the same with their dates
	DH          string         `json:"dh"`
	IssuerKind  string         `json:"issuer_kind"` // local, none, ssh, acme
	CA          CA             `json:"ca"`
	Issued      *Issued        `json:"issued,omitempty"` // nil where this host has no CA
	CRL         *CRL           `json:"crl,omitempty"`    // nil where there is no CRL
	Issuer      *OtherCA       `json:"issuer,omitempty"` // the CA on another host
	ACME        *ACMECA        `json:"acme,omitempty"`   // the ACME CA
	DANE        *DANE          `json:"dane,omitempty"`   // nil where nobody publishes TLSA records
	Sendmail    Sendmail       `json:"sendmail"`
	Serves      []Served       `json:"serves,omitempty"` // with --probe
	Problems    []plan.Problem `json:"problems"`         // worst first
	Next        *time.Time     `json:"next,omitempty"`
	NextWhat    string         `json:"next_what,omitempty"`
	Daemon      *bool          `json:"daemon_runs,omitempty"` // nil where it is not known
	Pickups     []PickupResult `json:"pickups"`               // oldest first
}

// OtherCA is the CA on the host of issuer.ssh.
type OtherCA struct {
	Target  string     `json:"target"`
	Trusted int        `json:"trusted"`         // accepted CA generations
	Asked   *time.Time `json:"asked,omitempty"` // when the CA host last answered
}

// ACMECA is an ACME CA, and when it wants the host's certificate to be renewed.
type ACMECA struct {
	Directory   string     `json:"directory"`
	Account     string     `json:"account,omitempty"` // the account's URL; "" before there is one
	Profile     string     `json:"profile,omitempty"` // the profile that the last order asked for
	WindowStart *time.Time `json:"window_start,omitempty"`
	WindowEnd   *time.Time `json:"window_end,omitempty"`
	Poll        *time.Time `json:"poll,omitempty"` // when the CA is asked for the window again
	Why         string     `json:"window_url,omitempty"`
	Fallback    string     `json:"fallback,omitempty"` // the directory of the second ACME CA
	Refusals    []Refusal  `json:"refusals,omitempty"` // orders that have given no certificate
}

// Window is when an ACME CA wants a certificate to be renewed. Without Start and End it has named no time.
type Window struct {
	Start *time.Time `json:"start,omitempty"`
	End   *time.Time `json:"end,omitempty"`
	Poll  *time.Time `json:"poll,omitempty"` // when the CA is asked for the window again
	Why   string     `json:"url,omitempty"`
}

// Refusal is an order that has given no certificate.
type Refusal struct {
	Pair     string    `json:"pair"`
	Fallback bool      `json:"fallback,omitempty"` // the second ACME CA has refused it
	Kind     string    `json:"kind,omitempty"`     // see issuer.Kind
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next"` // when the CA is asked again
}

// Certificate is an installed leaf. Renewal is when mailcertd renews it or, for an interim one (RenewalBy), when the CA
// on another host is asked next; nil: never, or for an interim one that the time is not known.
type Certificate struct {
	Path       string     `json:"path"`
	Owner      plan.Owner `json:"owner"`
	Origin     Origin     `json:"origin"`
	Carried    *time.Time `json:"installed_by_hand,omitempty"` // when a person installed it
	Names      []string   `json:"names"`
	Issuer     string     `json:"issuer"`      // in the form of X509_NAME_oneline(3)
	IssuerText string     `json:"issuer_text"` // the same, readable
	Serial     string     `json:"serial"`
	NotBefore  time.Time  `json:"not_before"`
	NotAfter   time.Time  `json:"not_after"`
	DaysLeft   int        `json:"days_left"` // full days; negative after the end
	Renewal    *time.Time `json:"renewal,omitempty"`
	RenewalBy  plan.DueBy `json:"renewal_by,omitempty"` // what Renewal follows from
	Window     *Window    `json:"window,omitempty"`     // of an ACME CA that was asked for it
	// Directory is the ACME CA that issued it; "": none, or it is not known.
	Directory string `json:"directory,omitempty"`
	SHA256    string `json:"sha256"`
}

// Pair is a key and its certificate in the certs directory.
type Pair struct {
	Name   string `json:"name"`              // host, host-ecdsa or client
	Wanted bool   `json:"wanted"`            // the configuration asks for it
	Named  bool   `json:"named_by_sendmail"` // sendmail.cf names both of its files in their place
	// Seen is how a server pair came into use, as Sendmail.Seen. It is "" for a pair that sendmail.cf does not name,
	// for the client pair, which sendmail reads for each delivery, and where its use is unknown.
	Seen        string       `json:"seen,omitempty"`
	Key         string       `json:"key,omitempty"`
	TLSA        string       `json:"tlsa,omitempty"` // server pairs only
	Certificate *Certificate `json:"certificate"`
}

// Trusted is a CA in cacert.pem.
type Trusted struct {
	Subject   string    `json:"subject"`
	Text      string    `json:"subject_text"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"`
}

// Issued summarizes the database of this host's CA.
type Issued struct {
	Valid   int      `json:"valid"`
	Expired int      `json:"expired"`
	Revoked int      `json:"revoked"`
	NextDue []Listed `json:"next_due"` // the valid certificates that expire first, at most MostNextDue
}

// MostNextDue is how many certificates status lists.
const MostNextDue = 5

// CRL is the revocation list that expires first.
type CRL struct {
	Path       string     `json:"path"`
	ThisUpdate time.Time  `json:"this_update"`
	NextUpdate time.Time  `json:"next_update"`
	Renewal    *time.Time `json:"renewal,omitempty"` // when the next CRL is made; nil where the CA is on another host
	Behind     bool       `json:"behind"`            // it lacks a revoked certificate
	Installed  bool       `json:"installed"`         // crl.pem is in the certs directory
	Read       bool       `json:"read_by_sendmail"`  // sendmail.cf names a CRL
}

// Sendmail is what is known about sendmail without asking its port.
type Sendmail struct {
	CF                 string     `json:"cf"`
	CFMissing          bool       `json:"cf_missing"`
	NamesOurs          bool       `json:"names_our_files"`
	PID                int        `json:"pid,omitempty"`
	Status             string     `json:"status"`
	PickupPending      bool       `json:"pickup_pending"`
	PickupPendingSince *time.Time `json:"pickup_pending_since,omitempty"`
	PickupPendingError string     `json:"pickup_pending_error,omitempty"` // of the last attempt
	Seen               string     `json:"seen,omitempty"`                 // how the files on disk came into use
	SeenAt             *time.Time `json:"seen_at,omitempty"`
}

// Served is the answer of one listener. Error is why the listener gave no certificate, or why it could not be compared.
type Served struct {
	Addr     string `json:"addr"`
	Pair     string `json:"pair,omitempty"` // which pair was asked for, where sendmail.cf names two
	STARTTLS bool   `json:"starttls"`
	Serial   string `json:"serial,omitempty"`
	OnDisk   bool   `json:"on_disk"` // it is the certificate that is on the disk
	Error    string `json:"error,omitempty"`
}

// PickupResult is one attempt to make sendmail use a set. Result and Detail are those of state.PickupResult.
type PickupResult struct {
	At     time.Time `json:"at"`
	Serial string    `json:"serial,omitempty"`
	Result string    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}
