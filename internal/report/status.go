// Package report has what status, check, list and `status --due` say, as values: the
// JSON and the metrics come from here, and package page draws them for people.
package report

import (
	"time"

	"mailcertd/internal/plan"
)

// Status is what `status` knows: the one source of its text, its JSON
// (version 1, docs/status.schema.json) and its metrics. Within a version fields
// are added; one that is renamed, removed or means something else raises it.
// Times are UTC, RFC 3339.
type Status struct {
	Version     int            `json:"version"`
	At          time.Time      `json:"at"`      // when it was made
	Program     string         `json:"program"` // version of mailcertd
	Name        string         `json:"name"`
	Offered     bool           `json:"starttls_offered"` // by sendmail's rules, with what is there
	Certificate *Certificate   `json:"certificate"`      // of the host's own pair
	Key         string         `json:"key,omitempty"`
	TLSA        string         `json:"tlsa,omitempty"` // RFC 7672: 3 1 1 …
	Pairs       []Pair         `json:"pairs"`          // that are wanted or there, the host's own first
	Trust       []string       `json:"trust"`          // subjects in cacert.pem
	Trusted     []Trusted      `json:"trusted"`        // the same with their dates
	DH          string         `json:"dh"`
	IssuerKind  string         `json:"issuer_kind"` // local, none, ssh
	CA          CA             `json:"ca"`
	Issued      *Issued        `json:"issued,omitempty"` // where this host has a CA
	CRL         *CRL           `json:"crl,omitempty"`    // where there is one
	Issuer      *OtherCA       `json:"issuer,omitempty"` // the CA on another host
	Sendmail    Sendmail       `json:"sendmail"`
	Serves      []Served       `json:"serves,omitempty"` // with --probe
	Problems    []plan.Problem `json:"problems"`         // worst first
	Next        *time.Time     `json:"next,omitempty"`
	NextWhat    string         `json:"next_what,omitempty"`
	Deliveries  []Delivery     `json:"deliveries"` // oldest first
}

type OtherCA struct {
	Target  string     `json:"target"`
	Trusted int        `json:"trusted"`         // CA generations that are trusted here
	Asked   *time.Time `json:"asked,omitempty"` // when it last answered
}

type Certificate struct {
	Path       string     `json:"path"`
	Owner      plan.Owner `json:"owner"`
	Origin     Origin     `json:"origin"`
	Carried    *time.Time `json:"installed_by_hand,omitempty"` // when
	Names      []string   `json:"names"`
	Issuer     string     `json:"issuer"`      // as X509_NAME_oneline(3) has it
	IssuerText string     `json:"issuer_text"` // the same in characters
	Serial     string     `json:"serial"`
	NotBefore  time.Time  `json:"not_before"`
	NotAfter   time.Time  `json:"not_after"`
	DaysLeft   int        `json:"days_left"` // full days; negative after the end
	Renewal    *time.Time `json:"renewal,omitempty"`
	SHA256     string     `json:"sha256"`
}

// Pair is a key and its certificate in the certs directory.
type Pair struct {
	Name   string `json:"name"`              // host, host-ecdsa or client
	Wanted bool   `json:"wanted"`            // the configuration asks for it
	Named  bool   `json:"named_by_sendmail"` // sendmail.cf names both of its files in their place
	// Seen is how a server pair came into use, as Sendmail.Seen; "" for one that sendmail.cf does not name, for the
	// client's, which sendmail reads for each delivery, and for one that is not known to be in use.
	Seen        string       `json:"seen,omitempty"`
	Key         string       `json:"key,omitempty"`
	TLSA        string       `json:"tlsa,omitempty"` // of a server pair
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

// Issued is the database of this host's CA in short.
type Issued struct {
	Valid   int      `json:"valid"`
	Expired int      `json:"expired"`
	Revoked int      `json:"revoked"`
	NextDue []Listed `json:"next_due"` // valid ones by their end, MostNextDue at most
}

// MostNextDue is how many certificates status names.
const MostNextDue = 5

// CRL is the revocation list that is stale first.
type CRL struct {
	Path       string     `json:"path"`
	ThisUpdate time.Time  `json:"this_update"`
	NextUpdate time.Time  `json:"next_update"`
	Renewal    *time.Time `json:"renewal,omitempty"` // when it is made again; not with the CA on another host
	Behind     bool       `json:"behind"`            // it does not list a revoked certificate yet
	Installed  bool       `json:"installed"`         // crl.pem is in the certs directory
	Read       bool       `json:"read_by_sendmail"`  // sendmail.cf names one
}

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

type Served struct {
	Addr     string `json:"addr"`
	Pair     string `json:"pair,omitempty"` // which pair was asked for, where sendmail.cf names two
	STARTTLS bool   `json:"starttls"`
	Serial   string `json:"serial,omitempty"`
	OnDisk   bool   `json:"on_disk"` // it is the certificate that is on the disk
	Error    string `json:"error,omitempty"`
}

type Delivery struct {
	At     time.Time `json:"at"`
	Serial string    `json:"serial,omitempty"`
	Result string    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}
