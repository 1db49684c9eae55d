// Package state is what must be remembered between two looks: pending pickups, proofs,
// failures, the newest clock seen, and which files are ours. Without it
// everything still works; it only forgets.
package state

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// version is the only one that this program reads and writes.
const version = 1

// maxOurs bounds the digests that are remembered; the oldest go first.
const maxOurs = 256

// State is state.json. The zero value is a fresh start. Times are UTC with
// full seconds unless they come from a file's inode.
type State struct {
	Version int `json:"version"`
	// HighWater is the newest plausible clock seen; it moves once a day at most.
	HighWater time.Time `json:"high_water"`
	// Clock is what is doubted of the wall clock; zero: nothing.
	Clock Clock `json:"clock"`
	// CA is the hex SHA-256 of the SubjectPublicKeyInfo of the CA in use; "": none yet.
	CA string `json:"ca,omitempty"`
	// Ours are the files that mailcertd wrote, by the hex SHA-256 of their content.
	Ours      map[string]Ours           `json:"ours,omitempty"`
	Delivered Delivered                 `json:"delivered"`
	Pickup    *Pickup                   `json:"pickup,omitempty"`
	Notify    map[string]*NotifyPending `json:"notify,omitempty"` // by command line
	// plan.SetID that a command was last told of, by command line
	Notified map[string]string  `json:"notified,omitempty"`
	Failures map[string]Failure `json:"failures,omitempty"` // by what failed
	Name     NameSeen           `json:"name"`               // a changed system host name
	Mismatch Seen               `json:"mismatch"`           // a pair that does not match
	// Hold is the Leaf ID of a restored certificate that stays until it is due.
	Hold string `json:"hold,omitempty"`
	// Carried is the Leaf ID of what a person last installed with `mailcertd
	// install`, and when.
	Carried    Seen       `json:"carried"`
	OldKeys    []OldKey   `json:"old_keys,omitempty"`
	DH         DHChoice   `json:"dh"`
	Member     Member     `json:"member"`               // what a member of another host's CA has asked
	Deliveries []Delivery `json:"deliveries,omitempty"` // the last ones, oldest first
	// Pairs is what is remembered of the pairs beside the host's own, by their names; see State.Pair.
	Pairs map[string]Pair `json:"pairs,omitempty"`
}

// Clock is a wall clock that has to last before it is believed.
type Clock struct {
	// Doubt is why: "new" (HighWater is the first one, and not an hour old),
	// "ahead" or "behind" (far from HighWater); "": it is believed.
	Doubt string    `json:"doubt,omitempty"`
	Since time.Time `json:"since"` // when the doubt began, by that clock
	Seen  time.Time `json:"seen"`  // when it was last noted that it lasts, by that clock
	// Lasted is how long the doubted clock was seen to run on, in seconds.
	Lasted int `json:"lasted,omitempty"`
}

// Ours is a file that mailcertd wrote.
type Ours struct {
	Kind string    `json:"kind"` // key, cert, ca, dh, trust
	At   time.Time `json:"at"`
	// Pending is a certificate that was noted before its installation: it counts as installed where it is in the certs
	// directory, and once another has been installed over it.
	Pending bool `json:"pending,omitempty"`
}

// Delivered is the set that sendmail was last seen to use.
type Delivered struct {
	Set      string    `json:"set,omitempty"`  // plan.SetID
	Leaf     string    `json:"leaf,omitempty"` // pki.Fingerprint
	At       time.Time `json:"at"`
	How      string    `json:"how,omitempty"`      // proven, started-later, none-running, not-probed
	Instance string    `json:"instance,omitempty"` // plan.InstanceID; "" when none ran
	Addr     string    `json:"addr,omitempty"`     // where it was seen
}

// Pickup is a set that a running sendmail has not yet picked up.
type Pickup struct {
	Set       string      `json:"set"`
	Leaf      string      `json:"leaf"`
	Since     time.Time   `json:"since"`
	Instance  Instance    `json:"instance"` // the sendmail that has to pick it up
	HUPs      []HUP       `json:"hups,omitempty"`
	Attempts  int         `json:"attempts,omitempty"` // that failed
	Next      time.Time   `json:"next"`               // the earliest next attempt; zero: now
	LastError string      `json:"last_error,omitempty"`
	WasUp     bool        `json:"was_up"`            // it listened before the change
	Started   []time.Time `json:"started,omitempty"` // when start_command was run
	// Proving is until when a process waits for the new instance to show what it serves; zero: nobody does.
	Proving time.Time `json:"proving"`
	// Failed is the plan.InstanceID of the last instance that started after a HUP
	// and could not be proven; "": none.
	Failed string `json:"failed,omitempty"`
	// Unseen says that LastError is no verdict: what it serves could not be seen.
	Unseen bool `json:"unseen,omitempty"`
}

// Instance is one run of sendmail.
type Instance struct {
	PID       int       `json:"pid"`
	PIDFile   string    `json:"pid_file"`
	PIDFileID string    `json:"pid_file_id"` // device:inode:mtime of the pid file
	Started   time.Time `json:"started"`
}

// HUP is one signal: noted before it is sent, confirmed after.
type HUP struct {
	Instance Instance  `json:"instance"`
	At       time.Time `json:"at"`
	Sent     bool      `json:"sent"`
	Back     bool      `json:"back,omitempty"` // another instance was seen to run after it
}

// NotifyPending is a configured command that has not yet run for a set.
type NotifyPending struct {
	Set       string    `json:"set"`
	Attempts  int       `json:"attempts,omitempty"`
	Next      time.Time `json:"next"`
	LastError string    `json:"last_error,omitempty"`
	// Running is until when some mailcertd has it run, at the latest; zero: nobody
	// does. No other one starts it before.
	Running time.Time `json:"running"`
}

// NotifyRunsAtMost bounds Running: a clock that was set back must not make it
// endless.
const NotifyRunsAtMost = 2 * time.Minute

// Runs says that a process of ours may have the command under way.
func (d NotifyPending) Runs(now time.Time) bool {
	left := d.Running.Sub(now)
	return left > 0 && left <= NotifyRunsAtMost
}

// Due says that the command is to be started now.
func (d NotifyPending) Due(now time.Time) bool { return !d.Runs(now) && !now.Before(d.Next) }

// Failure is a series of failed attempts.
type Failure struct {
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Next  time.Time `json:"next"` // the earliest next attempt
	Error string    `json:"error"`
}

// NameSeen is a host name and when it was first seen.
type NameSeen struct {
	Name  string    `json:"name,omitempty"`
	Since time.Time `json:"since"`
}

// Seen is a content and when it was first seen.
type Seen struct {
	Digest string    `json:"digest,omitempty"`
	Since  time.Time `json:"since"`
}

// OldKey is a replaced key of our own in the archive.
type OldKey struct {
	Backup string    `json:"backup"`
	Name   string    `json:"name"`
	After  time.Time `json:"after"` // deleted from then on; zero until its successor is in use
}

// DHChoice is a group that a person chose while the configuration said Config.
type DHChoice struct {
	Group  string `json:"group,omitempty"`
	Config string `json:"config,omitempty"`
}

// Delivery is one finished attempt to tell sendmail.
type Delivery struct {
	At     time.Time `json:"at"`
	Leaf   string    `json:"leaf,omitempty"`
	Serial string    `json:"serial,omitempty"`
	Result string    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}

// Member is what was asked of the CA on another host.
type Member struct {
	Asked time.Time `json:"asked"`          // when it last answered; zero: never
	Told  string    `json:"told,omitempty"` // the trust set that it was told then, as plan.TrustID
	// Key is the pki.KeyFingerprint of a staged key that a request is out for, since At.
	Key string    `json:"key,omitempty"`
	At  time.Time `json:"at"`
}

// Clone copies everything: changing the copy leaves the original alone.
func (s State) Clone() State {
	c := s
	c.Ours = maps.Clone(s.Ours)
	c.Failures = maps.Clone(s.Failures)
	c.Notified = maps.Clone(s.Notified)
	c.Pairs = maps.Clone(s.Pairs)
	c.OldKeys = slices.Clone(s.OldKeys)
	c.Deliveries = slices.Clone(s.Deliveries)
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

// Equal says that two states remember the same; an empty list is no list.
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
	if len(c.Failures) == 0 {
		c.Failures = nil
	}
	if len(c.OldKeys) == 0 {
		c.OldKeys = nil
	}
	if len(c.Deliveries) == 0 {
		c.Deliveries = nil
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

// AddOurs remembers the content of a file that is about to be written. digest is its hex SHA-256. What is known keeps
// its first time: a key's age counts from when it was made. Of more than can be remembered the oldest go, but none of
// installed, the digests of what is in the certs directory: a key that stays for years is older than all its
// certificates.
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

// AddPending is AddOurs for a certificate that is about to be installed. Those that were pending and are in the certs
// directory are installed.
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

// The retry schedule: a minute, doubled with each failure, an hour at most.
const (
	backoffFirst = time.Minute
	// BackoffCap is the longest time between two attempts.
	BackoffCap = time.Hour
)

// Backoff is how long to wait after n failures in a row. n counts from 1.
func Backoff(n int) time.Duration {
	d := backoffFirst
	for ; n > 1 && d < BackoffCap; n-- {
		d *= 2
	}
	return min(d, BackoffCap)
}
