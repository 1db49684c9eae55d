// Package state is what must be remembered between two looks: pending pickups, proofs, failures, the newest clock seen,
// and which files are ours. Without it everything still works, but mailcertd forgets these.
package state

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"mailcertd/internal/dane"
)

// version is the only version that this program reads and writes.
const version = 1

// maxOurs bounds the digests in State.Ours; the oldest are removed first.
const maxOurs = 256

// State is the content of state.json. The zero value is that of a new host. Times are UTC
// with full seconds, except those of a file's inode.
type State struct {
	Version int `json:"version"`
	// HighWater is the newest plausible clock that was seen; it moves at most once a day.
	HighWater time.Time `json:"high_water"`
	// Clock is the doubt about the wall clock; zero: there is none.
	Clock Clock `json:"clock"`
	// CA is the hexadecimal SHA-256 of the SubjectPublicKeyInfo of the CA in use; "": there was none yet.
	CA string `json:"ca,omitempty"`
	// Ours are the files that mailcertd wrote, by the hexadecimal SHA-256 of their content.
	Ours     map[string]Ours           `json:"ours,omitempty"`
	PickedUp PickedUp                  `json:"picked_up"`
	Pickup   *Pickup                   `json:"pickup,omitempty"`
	Notify   map[string]*NotifyPending `json:"notify,omitempty"` // by command line
	// Notified is the plan.SetID for which a command last ran, by command line.
	Notified map[string]string  `json:"notified,omitempty"`
	Failures map[string]Failure `json:"failures,omitempty"` // by what failed
	Name     NameSeen           `json:"name"`               // a changed system host name
	Mismatch Seen               `json:"mismatch"`           // a pair that does not match
	// Hold is the Leaf ID of a restored certificate that stays until it is due.
	Hold string `json:"hold,omitempty"`
	// Carried is the Leaf ID of the certificate that a person last installed with `mailcertd install`, and when.
	Carried Seen           `json:"carried"`
	OldKeys []OldKey       `json:"old_keys,omitempty"`
	DH      DHChoice       `json:"dh"`
	Member  Member         `json:"member"`            // on a member: what it has asked the CA host
	Pickups []PickupResult `json:"pickups,omitempty"` // the last ones, oldest first
	// Pairs is what is remembered about the pairs other than the host's own, by their names; see State.Pair.
	Pairs map[string]Pair `json:"pairs,omitempty"`
	// ACME is what is remembered about the pairs' certificates from an ACME CA, by the pairs' names.
	ACME map[string]ACME `json:"acme,omitempty"`
	// DANE is what was seen of the TLSA records, and which keys are being changed.
	DANE dane.Memory `json:"dane,omitzero"`
}

// Clock is the doubt about a wall clock, which has to last for a time before it is believed.
type Clock struct {
	// Doubt is the reason: "new" (HighWater is the first one and less than an hour old), "ahead" or "behind" (far from
	// HighWater); "": the clock is believed.
	Doubt string    `json:"doubt,omitempty"`
	Since time.Time `json:"since"` // when the doubt began, by that clock
	Seen  time.Time `json:"seen"`  // when Lasted was last set, by that clock
	// Lasted is how long the doubted clock has been seen to run, in seconds.
	Lasted int `json:"lasted,omitempty"`
}

// Ours is a file that mailcertd wrote.
type Ours struct {
	Kind string    `json:"kind"` // key, cert, ca, dh, trust
	At   time.Time `json:"at"`
	// Pending says that a certificate was noted before its installation. It counts as installed if it is in the certs
	// directory, or if another has been installed after it.
	Pending bool `json:"pending,omitempty"`
}

// PickedUp is the set that sendmail was last seen to use.
type PickedUp struct {
	Set      string    `json:"set,omitempty"`  // plan.SetID
	Leaf     string    `json:"leaf,omitempty"` // pki.Fingerprint
	At       time.Time `json:"at"`
	How      string    `json:"how,omitempty"`      // proven, started-later, none-running, not-probed
	Instance string    `json:"instance,omitempty"` // plan.InstanceID; "" where no sendmail ran
	Addr     string    `json:"addr,omitempty"`     // host:port that served it
}

// Pickup is a set that a running sendmail has not yet picked up.
type Pickup struct {
	Set       string      `json:"set"`
	Leaf      string      `json:"leaf"`
	Since     time.Time   `json:"since"`
	Instance  Instance    `json:"instance"` // the sendmail that has to pick it up
	HUPs      []HUP       `json:"hups,omitempty"`
	Attempts  int         `json:"attempts,omitempty"` // how many have failed
	Next      time.Time   `json:"next"`               // the earliest next attempt; zero: now
	LastError string      `json:"last_error,omitempty"`
	WasUp     bool        `json:"was_up"`            // sendmail listened before the change
	Started   []time.Time `json:"started,omitempty"` // when start_command was run
	// Proving is until when a process may wait for the new instance to serve the set; zero: no process waits.
	Proving time.Time `json:"proving"`
	// Failed is the plan.InstanceID of the last instance that started after a HUP and was not proven; "": none.
	Failed string `json:"failed,omitempty"`
	// Unseen says that what sendmail serves could not be seen, so that LastError does not mean that it refuses the set.
	Unseen bool `json:"unseen,omitempty"`
}

// Instance is one run of sendmail.
type Instance struct {
	PID       int       `json:"pid"`
	PIDFile   string    `json:"pid_file"`
	PIDFileID string    `json:"pid_file_id"` // device:inode:mtime of the pid file
	Started   time.Time `json:"started"`
}

// HUP is one signal. It is noted before it is sent, and again afterwards.
type HUP struct {
	Instance Instance  `json:"instance"`
	At       time.Time `json:"at"`
	Sent     bool      `json:"sent"`
	Back     bool      `json:"back,omitempty"` // another instance was seen after it
}

// NotifyPending is a configured command that has not run for a set yet.
type NotifyPending struct {
	Set       string    `json:"set"`
	Attempts  int       `json:"attempts,omitempty"`
	Next      time.Time `json:"next"`
	LastError string    `json:"last_error,omitempty"`
	// Running is until when at the latest a mailcertd process runs the command; zero: none does. No other process
	// starts it before then.
	Running time.Time `json:"running"`
}

// NotifyRunsAtMost bounds Running, because the clock may have been set back.
const NotifyRunsAtMost = 2 * time.Minute

// Runs says whether a mailcertd process may be running the command.
func (d NotifyPending) Runs(now time.Time) bool {
	left := d.Running.Sub(now)
	return left > 0 && left <= NotifyRunsAtMost
}

// Due says whether the command must be started now.
func (d NotifyPending) Due(now time.Time) bool { return !d.Runs(now) && !now.Before(d.Next) }

// Failure is a series of failed attempts.
type Failure struct {
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Next  time.Time `json:"next"` // the earliest next attempt
	Error string    `json:"error"`
	// Kind is what an issuer's refusal was about; "": another error.
	Kind string `json:"kind,omitempty"`
	// Same counts the refusals of that kind in a row.
	Same int `json:"same,omitempty"`
	// By is the issuer on another host that was asked: a directory, or the target of ssh; "": none, or not noted.
	By string `json:"by,omitempty"`
}

// NameSeen is a host name and when it was first seen.
type NameSeen struct {
	Name  string    `json:"name,omitempty"`
	Since time.Time `json:"since"`
}

// Seen is the digest of a content, and when it was first seen.
type Seen struct {
	Digest string    `json:"digest,omitempty"`
	Since  time.Time `json:"since"`
}

// OldKey is a replaced key of our own in a backup.
type OldKey struct {
	Backup string    `json:"backup"`
	Name   string    `json:"name"`
	After  time.Time `json:"after"` // it is deleted after this time; zero until its successor is in use
}

// DHChoice is a group that a person has chosen with `mailcertd dhparam`, and the setting dh at that time, which it
// overrides.
type DHChoice struct {
	Group  string `json:"group,omitempty"`
	Config string `json:"config,omitempty"`
}

// PickupResult is one finished attempt to make sendmail use a set.
type PickupResult struct {
	At     time.Time `json:"at"`
	Leaf   string    `json:"leaf,omitempty"`
	Serial string    `json:"serial,omitempty"`
	Result string    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}

// Member is what this member has asked the CA host.
type Member struct {
	Asked time.Time `json:"asked"`          // when the CA host last answered; zero: never
	Told  string    `json:"told,omitempty"` // the plan.TrustID that the CA host was told then
	// Key is the pki.KeyFingerprint of a staged key that waits for its certificate until At.
	Key string    `json:"key,omitempty"`
	At  time.Time `json:"at"`
}

// Clone is a deep copy.
func (s State) Clone() State {
	c := s
	c.Ours = maps.Clone(s.Ours)
	c.Failures = maps.Clone(s.Failures)
	c.Notified = maps.Clone(s.Notified)
	c.Pairs = maps.Clone(s.Pairs)
	c.ACME = maps.Clone(s.ACME)
	c.DANE = s.DANE.Clone()
	c.OldKeys = slices.Clone(s.OldKeys)
	c.Pickups = slices.Clone(s.Pickups)
	if s.Pickup != nil {
		d := *s.Pickup
		d.HUPs, d.Started = slices.Clone(d.HUPs), slices.Clone(d.Started)
		c.Pickup = &d
	}
	if s.Notify != nil {
		c.Notify = make(map[string]*NotifyPending, len(s.Notify))
		for k, v := range s.Notify {
			if v != nil {
				n := *v
				c.Notify[k] = &n
			}
		}
	}
	return c
}

// Equal says whether two states remember the same. Nil and empty lists and maps are equal.
func (s State) Equal(o State) bool {
	return reflect.DeepEqual(s.plain(), o.plain())
}

func (s State) plain() State {
	c := s.Clone()
	c.Version = version
	if len(c.Ours) == 0 {
		c.Ours = nil
	}
	if len(c.Notify) == 0 {
		c.Notify = nil
	}
	if len(c.Notified) == 0 {
		c.Notified = nil
	}
	if len(c.Pairs) == 0 {
		c.Pairs = nil
	}
	if len(c.ACME) == 0 {
		c.ACME = nil
	}
	if len(c.Failures) == 0 {
		c.Failures = nil
	}
	if len(c.OldKeys) == 0 {
		c.OldKeys = nil
	}
	if len(c.Pickups) == 0 {
		c.Pickups = nil
	}
	if c.Pickup != nil {
		if len(c.Pickup.HUPs) == 0 {
			c.Pickup.HUPs = nil
		}
		if len(c.Pickup.Started) == 0 {
			c.Pickup.Started = nil
		}
	}
	return c
}

// AddOurs remembers the content of a file that is about to be written; digest is its hexadecimal SHA-256. A digest that
// is known keeps its first time, because the age of a key counts from when it was made. Where there are more than
// maxOurs, the oldest are removed, except installed, the digests of the files in the certs directory: a key that stays
// for years is older than all its certificates.
func (s *State) AddOurs(digest, kind string, now time.Time, installed ...string) {
	if _, known := s.Ours[digest]; known {
		return
	}
	if s.Ours == nil {
		s.Ours = map[string]Ours{}
	}
	s.Ours[digest] = Ours{Kind: kind, At: now.UTC().Truncate(time.Second)}
	for len(s.Ours) > maxOurs {
		oldest := ""
		for d, o := range s.Ours {
			if d != digest && !slices.Contains(installed, d) &&
				(oldest == "" || o.At.Before(s.Ours[oldest].At) || o.At.Equal(s.Ours[oldest].At) && d < oldest) {
				oldest = d
			}
		}
		if oldest == "" {
			return
		}
		delete(s.Ours, oldest)
	}
}

// AddPending is AddOurs for a certificate that is about to be installed. It first clears Pending for the certificates
// in installed.
func (s *State) AddPending(digest, kind string, now time.Time, installed ...string) {
	for _, d := range installed {
		if o := s.Ours[d]; o.Pending {
			o.Pending = false
			s.Ours[d] = o
		}
	}
	if _, known := s.Ours[digest]; known {
		return
	}
	s.AddOurs(digest, kind, now, installed...)
	o := s.Ours[digest]
	o.Pending = true
	s.Ours[digest] = o
}
