package ca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Member is a host that is enrolled: it may get certificates in its own name, and the CA waits until it trusts a next
// generation before that is put in force.
type Member struct {
	Name     string    `json:"name"`
	AltNames []string  `json:"altnames,omitempty"` // further names and addresses that it may have
	Enrolled time.Time `json:"enrolled"`
	Seen     time.Time `json:"seen"` // its last request of any kind; zero: none
	// Trusts are the CA certificates that the host has reported to trust: hexadecimal SHA-256 of their DER.
	Trusts []string `json:"trusts,omitempty"`
	// Signed are the times within the last day at which a certificate was signed for it.
	Signed []time.Time `json:"signed,omitempty"`
}

// memberFile is members.json, version 1.
type memberFile struct {
	Version int      `json:"version"`
	Members []Member `json:"members"`
}

const memberVersion = 1

// ErrNotMember says that a host is not enrolled. Test with errors.Is.
var ErrNotMember = errors.New("is not a member of this CA")

// readMembers returns the members in the order of the file; none where the file is missing.
func readMembers(dir string) ([]Member, error) {
	n := durable.Read(filepath.Join(dir, membersName), maxFile*16)
	if n.Err != nil || !n.Exists {
		return nil, n.Err
	}
	var f memberFile
	if err := json.Unmarshal(n.Data, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Path, err)
	}
	if f.Version != memberVersion {
		return nil, fmt.Errorf("%s: has version %d, and this program reads version %d", n.Path, f.Version,
			memberVersion)
	}
	return f.Members, nil
}

// Find returns the member of that name, in any case of letters; nil where there is none. It points into members.
func Find(members []Member, name string) *Member {
	for i := range members {
		if strings.EqualFold(members[i].Name, name) {
			return &members[i]
		}
	}
	return nil
}

// writeMembers writes the list. The caller holds the lock of the CA directory.
func writeMembers(disk *durable.Disk, dir string, members []Member) error {
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(memberFile{Version: memberVersion, Members: members}, "", "  ")
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(dir, membersName), append(data, '\n'), keyMode)
}

// Members reads the list, lets change edit it and writes it, under the lock of the CA directory. It writes nothing
// where change returns an error.
func Members(ctx context.Context, disk *durable.Disk, dir string, change func([]Member) ([]Member, error)) error {
	l, err := lock(ctx, dir)
	if err != nil {
		return err
	}
	defer l.Unlock()
	have, err := readMembers(dir)
	if err != nil {
		return err
	}
	want, err := change(slices.Clone(have))
	if err != nil {
		return err
	}
	return writeMembers(disk, dir, want)
}

// Heard is what a member has reported with its requests since it was last noted.
type Heard struct {
	At     time.Time
	Trusts []string // nil: it did not say
	Signed int      // how many certificates were signed for it
}

// Hear notes the requests of members, by name. Hosts that are not members are ignored.
func (s *Session) Hear(heard map[string]Heard) error {
	all, err := readMembers(s.o.Dir) // not s.obs.Members: the session may have failed to read the list
	if err != nil {
		return err
	}
	if err := writeMembers(s.disk, s.o.Dir, hear(all, heard)); err != nil {
		return err
	}
	s.obs.Members = all
	return nil
}

// Hear does the same without a session.
func Hear(ctx context.Context, disk *durable.Disk, dir string, heard map[string]Heard) error {
	return Members(ctx, disk, dir, func(all []Member) ([]Member, error) { return hear(all, heard), nil })
}

func hear(all []Member, heard map[string]Heard) []Member {
	for i := range all {
		h, ok := heard[all[i].Name]
		if !ok {
			continue
		}
		m := &all[i]
		m.Seen = h.At.UTC().Truncate(time.Second)
		if h.Trusts != nil {
			m.Trusts = h.Trusts
		}
		m.Signed = recent(m.Signed, h.At)
		for range h.Signed {
			m.Signed = append(m.Signed, m.Seen)
		}
	}
	return all
}

// Enrol is a change for Members that adds a host, or replaces the further names of one that is a member.
func Enrol(name string, altNames []string, now time.Time) func([]Member) ([]Member, error) {
	return func(all []Member) ([]Member, error) {
		if m := Find(all, name); m != nil {
			m.AltNames = altNames
			return all, nil
		}
		return append(all, Member{Name: name, AltNames: altNames, Enrolled: now.UTC().Truncate(time.Second)}), nil
	}
}

// Unenrol is a change for Members that removes a host. The error is ErrNotMember.
func Unenrol(name string) func([]Member) ([]Member, error) {
	return func(all []Member) ([]Member, error) {
		if Find(all, name) == nil {
			return nil, fmt.Errorf("%s %w", name, ErrNotMember)
		}
		return slices.DeleteFunc(all, func(m Member) bool { return strings.EqualFold(m.Name, name) }), nil
	}
}

// silentAfter is how long after its last request a change of generation no longer waits for a member.
const silentAfter = 30 * 24 * time.Hour

// Silent says whether the host has sent no request for silentAfter, counted from its enrolment if it never sent one.
func (m Member) Silent(now time.Time) bool {
	last := m.Seen
	if last.Before(m.Enrolled) {
		last = m.Enrolled
	}
	return now.Sub(last) >= silentAfter
}

// Waiting returns the names of the members that do not yet trust the next generation: those for which it waits, and
// those for which it does not, because they are silent.
func (o Observed) Waiting(now time.Time) (waiting, silent []string) {
	if !o.HasNext() {
		return nil, nil
	}
	id := pki.Fingerprint(o.Next.Cert)
	for _, m := range o.Members {
		switch {
		case slices.Contains(m.Trusts, id):
		case m.Silent(now):
			silent = append(silent, m.Name)
		default:
			waiting = append(waiting, m.Name)
		}
	}
	return waiting, silent
}
