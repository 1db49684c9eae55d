package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"mailcertd/internal/durable"
)

const (
	FileName = "state.json" // in state.dir
	maxState = 1 << 20      // bytes

	// BackupsDir is the directory in state.dir with the backups, and FormerBackupsDir the one in which an older version
	// has made them.
	BackupsDir       = "backups"
	FormerBackupsDir = "archive"
)

// ErrNewer says that a newer mailcertd wrote the state. It is not overwritten.
var ErrNewer = errors.New("was written by a newer mailcertd")

// Loaded describes the file that Load has read.
type Loaded struct {
	Path    string
	Present bool
	// Problem is why the file could not be used; nil where it was used or is missing.
	Problem error
	// Unread says that the file exists but the system could not read it; Problem is the system's error. Its content is
	// not lost, so the file must not be overwritten.
	Unread bool
}

// Load reads state.json. The State is always usable: where Loaded.Problem is set, it is the zero State.
func Load(dir string) (State, Loaded) {
	l := Loaded{Path: filepath.Join(dir, FileName)}
	n := durable.Read(l.Path, maxState)
	l.Present = n.Kind != durable.Missing
	switch {
	case !l.Present && n.Err == nil:
		return State{}, l
	case n.Err != nil:
		l.Problem = n.Err
		l.Unread = n.Unread()
		return State{}, l
	}
	s, err := decode(n.Data)
	if err != nil {
		l.Problem = fmt.Errorf("%s: %w", l.Path, err)
		return State{}, l
	}
	if s.Version > version {
		l.Problem = fmt.Errorf("%s: %w (version %d)", l.Path, ErrNewer, s.Version)
		return State{}, l
	}
	if s.Version != version {
		l.Problem = fmt.Errorf("%s: has no known version", l.Path)
		return State{}, l
	}
	for k, v := range s.Notify {
		if v == nil {
			delete(s.Notify, k)
		}
	}
	return s.Clone(), l
}

// decode parses state.json, also with the keys of versions up to 0.1.0, so that an update of mailcertd does not forget
// a pending pickup, what sendmail has picked up, or the old keys to be deleted. After a downgrade, an old version does
// not find the new keys: it asks sendmail once more what it serves, and does not delete these old keys.
func decode(data []byte) (State, error) {
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, err
	}
	var older struct {
		Debt       *Pickup        `json:"debt"`
		Delivered  PickedUp       `json:"delivered"`
		Deliveries []PickupResult `json:"deliveries"`
		OldKeys    []struct {
			Generation string `json:"generation"`
		} `json:"old_keys"`
	}
	if err := json.Unmarshal(data, &older); err != nil {
		return State{}, err
	}
	if s.Pickup == nil {
		s.Pickup = older.Debt
	}
	if s.PickedUp == (PickedUp{}) {
		s.PickedUp = older.Delivered
	}
	if s.Pickups == nil {
		s.Pickups = older.Deliveries
	}
	for i, k := range older.OldKeys {
		if s.OldKeys[i].Backup == "" {
			s.OldKeys[i].Backup = k.Generation
		}
	}
	return s, nil
}

// Save writes the state durably, with mode 0600 in a directory of mode 0700. It writes nothing where the file has this
// content already. A damaged file is renamed to state.json.bad-TIME first. Errors: ErrNewer for a file of a newer
// version; that of the system where the present file could not be read, which then stays.
func Save(disk *durable.Disk, dir string, s State) error {
	s.Version = version
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	path := filepath.Join(dir, FileName)
	n := durable.Read(path, maxState)
	if n.Err == nil && n.Exists && bytes.Equal(n.Data, data) {
		return nil
	}
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, l := Load(dir); l.Problem != nil {
		if l.Unread || errors.Is(l.Problem, ErrNewer) {
			return l.Problem
		}
		if err := setAside(disk, path, n); err != nil {
			return err
		}
	}
	return disk.Replace(path, data, 0o600)
}

// asideMark is between the name of the state file and the time in the name of a damaged one that was renamed.
const asideMark = ".bad-"

// Aside says whether name, in the state directory, is a damaged state file that Save has renamed.
func Aside(name string) bool { return strings.HasPrefix(name, FileName+asideMark) }

// setAside renames a damaged state file to a new name with its time.
func setAside(disk *durable.Disk, path string, n durable.Node) error {
	if n.IsDir {
		return fmt.Errorf("%s: is a directory", path)
	}
	stamp := n.Modified.UTC().Format("20060102T150405Z")
	if n.Modified.IsZero() {
		stamp = time.Unix(0, 0).UTC().Format("20060102T150405Z")
	}
	for i := 0; ; i++ {
		aside := path + asideMark + stamp
		if i > 0 {
			aside = fmt.Sprintf("%s-%d", aside, i)
		}
		switch there := durable.Look(aside); {
		case there.Kind == durable.Unknown:
			return there.Err
		case there.Kind == durable.Missing:
			return disk.Rename(path, aside)
		}
	}
}
