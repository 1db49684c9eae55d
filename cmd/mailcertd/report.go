package main

import (
	"time"

	"mailcertd/internal/plan"
)

// statusReport is what `status` knows: the one source of its text, its JSON
// (version 1, docs/status.schema.json) and its metrics. Within a version fields
// are added; one that is renamed, removed or means something else raises it.
// Times are UTC, RFC 3339.
type statusReport struct {
	Version     int            `json:"version"`
	At          time.Time      `json:"at"`      // when it was made
	Program     string         `json:"program"` // version of mailcertd
	Name        string         `json:"name"`
	Offered     bool           `json:"starttls_offered"` // by sendmail's rules, with what lies there
	Certificate *certificate   `json:"certificate"`
	Key         string         `json:"key,omitempty"`
	TLSA        string         `json:"tlsa,omitempty"` // RFC 7672: 3 1 1 …
	Trust       []string       `json:"trust"`          // subjects in cacert.pem
	Trusted     []trusted      `json:"trusted"`        // the same with their dates
	DH          string         `json:"dh"`
	IssuerKind  string         `json:"issuer_kind"` // local, none, ssh
	CA          caReport       `json:"ca"`
	Issued      *issuedReport  `json:"issued,omitempty"` // where this host has a CA
	CRL         *crlReport     `json:"crl,omitempty"`    // where there is one
	Issuer      *otherCA       `json:"issuer,omitempty"` // the CA on another host
	Sendmail    sendmailInfo   `json:"sendmail"`
	Serves      []served       `json:"serves,omitempty"` // with --probe
	Problems    []plan.Problem `json:"problems"`         // worst first
	Next        *time.Time     `json:"next,omitempty"`
	NextWhat    string         `json:"next_what,omitempty"`
	Deliveries  []delivery     `json:"deliveries"` // oldest first
}

type otherCA struct {
	Target  string     `json:"target"`
	Trusted int        `json:"trusted"`         // CA generations that are trusted here
	Asked   *time.Time `json:"asked,omitempty"` // when it last answered
}

type certificate struct {
	Path       string     `json:"path"`
	Owner      plan.Owner `json:"owner"`
	Origin     origin     `json:"origin"`
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

// trusted is a CA in cacert.pem.
type trusted struct {
	Subject   string    `json:"subject"`
	Text      string    `json:"subject_text"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"`
}

// issuedReport is the database of this host's CA in short.
type issuedReport struct {
	Valid   int      `json:"valid"`
	Expired int      `json:"expired"`
	Revoked int      `json:"revoked"`
	NextDue []listed `json:"next_due"` // valid ones by their end, mostNextDue at most
}

// mostNextDue is how many certificates status names.
const mostNextDue = 5

// crlReport is the revocation list that is stale first.
type crlReport struct {
	Path       string     `json:"path"`
	ThisUpdate time.Time  `json:"this_update"`
	NextUpdate time.Time  `json:"next_update"`
	Renewal    *time.Time `json:"renewal,omitempty"` // when it is made anew; not with the CA on another host
	Behind     bool       `json:"behind"`            // it lacks a revoked certificate
	Installed  bool       `json:"installed"`         // crl.pem lies in the certs directory
	Read       bool       `json:"read_by_sendmail"`  // sendmail.cf names one
}

type sendmailInfo struct {
	CF        string     `json:"cf"`
	CFMissing bool       `json:"cf_missing"`
	NamesOurs bool       `json:"names_our_files"`
	PID       int        `json:"pid,omitempty"`
	Status    string     `json:"status"`
	Owed      bool       `json:"pickup_owed"`
	OwedSince *time.Time `json:"pickup_owed_since,omitempty"`
	OwedError string     `json:"pickup_owed_error,omitempty"` // of the last attempt
	Seen      string     `json:"seen,omitempty"`              // how the files on disk came into use
	SeenAt    *time.Time `json:"seen_at,omitempty"`
}

type served struct {
	Addr     string `json:"addr"`
	STARTTLS bool   `json:"starttls"`
	Serial   string `json:"serial,omitempty"`
	OnDisk   bool   `json:"on_disk"` // it is the certificate that lies on the disk
	Error    string `json:"error,omitempty"`
}

type delivery struct {
	At     time.Time `json:"at"`
	Serial string    `json:"serial,omitempty"`
	Result string    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}
