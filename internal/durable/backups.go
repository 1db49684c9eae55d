package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"
)

// ManifestName is the file that makes a directory a backup. It is written last into the directory, which gets its own
// name only after that. A backup without a manifest was damaged, or is what an early version of mailcertd left when it
// was interrupted.
const ManifestName = "manifest.json"

// ErrForeign says that a backup has copies of files that mailcertd did not make. Such a backup is never deleted.
var ErrForeign = errors.New("it contains backups of files that mailcertd did not make")

// Item is one saved file or symbolic link.
type Item struct {
	Name    string // its name in its original directory; may contain one slash
	Data    []byte
	Mode    fs.FileMode // its original permission bits
	LinkTo  string      // the text of the link, "" for a file
	Foreign bool
	Secret  bool
}

// Saved is the entry of an Item in the manifest.
type Saved struct {
	Name   string `json:"name"`
	LinkTo string `json:"link_to,omitempty"`
	Mode   uint32 `json:"mode"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // hex
	Secret bool   `json:"secret,omitempty"`
	// Deleted says that the file, a replaced key, was deleted from the backup later.
	Deleted bool `json:"deleted,omitempty"`
}

// Backup is a set of files that were saved before they were replaced.
type Backup struct {
	ID      string    `json:"-"` // the name of its directory; sorts by time
	Version int       `json:"version"`
	When    time.Time `json:"when"`
	Reason  string    `json:"reason"`
	Foreign bool      `json:"foreign"` // it has a file that mailcertd did not make
	Files   []Saved   `json:"files"`
	Damaged bool      `json:"-"` // it has no manifest, or one that cannot be parsed
	Err     error     `json:"-"` // why its manifest could not be read; the other fields are then not known
}

// Backups is a directory of backups. Directories have mode 0700, files 0600.
type Backups struct {
	disk   *Disk
	dir    string
	former string // see Former; "" means that there was never another directory
}

// OpenBackups returns the backups in dir, and those that an older version has made in former and that Move has not
// moved yet. It neither opens nor makes anything.
func OpenBackups(disk *Disk, dir, former string) *Backups {
	return &Backups{disk: disk, dir: dir, former: former}
}

// Path returns the directory of a backup.
func (a *Backups) Path(id string) string { return a.entry(id) }

func (a *Backups) file(id, name string) string { return filepath.Join(a.entry(id), flat(name)) }

// flat is the name of a file in the directory of its backup, which has no subdirectories.
func flat(name string) string { return strings.ReplaceAll(name, "/", "%") }

// Add makes a backup and returns its ID when it is durable. The order is: files and manifest in a directory with a
// temporary name, a sync of that directory, its rename, a sync of the directory above. A crash leaves an Unfinished
// one. Where a backup with the same content exists, Add returns the ID of that one. The caller must hold the lock of
// the set that is backed up.
func (a *Backups) Add(now time.Time, reason string, items []Item) (string, error) {
	_ = a.Move() // a new backup can be made without it; whoever plans the move reports its error
	gens, err := a.in(a.dir)
	if err != nil {
		return "", err
	}
	if before, err := a.in(a.former); err == nil { // otherwise a second copy is made, which is better than none
		gens = append(gens, before...)
	}
	g := Backup{Version: 1, When: now.UTC().Truncate(time.Second), Reason: reason}
	for _, it := range items {
		g.Foreign = g.Foreign || it.Foreign
		f := Saved{Name: it.Name, LinkTo: it.LinkTo, Mode: uint32(it.Mode.Perm()), Size: len(it.Data),
			Secret: it.Secret}
		if it.LinkTo == "" {
			f.SHA256 = hexSum(it.Data)
		}
		g.Files = append(g.Files, f)
	}
	for _, old := range gens {
		if !old.Damaged && old.Err == nil && old.Foreign == g.Foreign && sameFiles(old.Files, g.Files) {
			if _, _, err := a.Load(old.ID); err == nil { // a damaged copy does not count
				return old.ID, nil
			}
		}
	}
	if err := a.disk.MkdirAll(a.dir, 0o700); err != nil {
		return "", err
	}
	if g.ID, err = a.newID(g.When); err != nil {
		return "", err
	}
	if err := a.RemoveUnfinished(g.ID); err != nil {
		return "", err
	}
	dir := filepath.Join(a.dir, TempName(g.ID))
	if err := a.disk.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := a.fill(dir, g, items); err != nil {
		_ = a.RemoveUnfinished(g.ID) // if it fails, a later cleanup of Unfinished removes it
		return "", err
	}
	if err := a.disk.Rename(dir, filepath.Join(a.dir, g.ID)); err != nil {
		_ = a.RemoveUnfinished(g.ID)
		return "", err
	}
	if err := a.disk.SyncDir(a.dir); err != nil {
		return "", err
	}
	return g.ID, nil
}

// fill writes the files of a backup and its manifest into dir, durably.
func (a *Backups) fill(dir string, g Backup, items []Item) error {
	for _, it := range items {
		if it.LinkTo != "" {
			continue // the manifest has its text
		}
		if err := a.disk.Create(filepath.Join(dir, flat(it.Name)), it.Data, 0o600); err != nil {
			return err
		}
	}
	data, err := manifestOf(g)
	if err != nil {
		return err
	}
	if err := a.disk.Create(filepath.Join(dir, ManifestName), data, 0o600); err != nil {
		return err
	}
	return a.disk.SyncDir(dir)
}

func sameFiles(a, b []Saved) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (a *Backups) newID(when time.Time) (string, error) {
	stamp := when.Format("20060102T150405Z")
	for n := 1; ; n++ {
		id := fmt.Sprintf("%s-%02d", stamp, n)
		switch there := Look(a.entry(id)); {
		case there.Err != nil:
			return "", there.Err
		case there.Kind == Missing:
			return id, nil
		}
	}
}

func manifestOf(g Backup) ([]byte, error) {
	data, err := json.MarshalIndent(g, "", "  ")
	return append(data, '\n'), err
}

func (a *Backups) writeManifest(g Backup) error {
	data, err := manifestOf(g)
	if err != nil {
		return err
	}
	return a.disk.Replace(filepath.Join(a.entry(g.ID), ManifestName), data, 0o600)
}

// List returns all backups, newest first; none where the directory does not exist. After an error the list may not be
// complete.
func (a *Backups) List() ([]Backup, error) {
	// The former directory comes first: what another process moves meanwhile is then found in the present one.
	before, failed := a.in(a.former)
	out, err := a.in(a.dir)
	for _, g := range before {
		if !slices.ContainsFunc(out, func(o Backup) bool { return o.ID == g.ID }) {
			out = append(out, g)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].ID > out[j].ID })
	return out, errors.Join(failed, err)
}

// in lists the backups in one directory.
func (a *Backups) in(dir string) (out []Backup, err error) {
	names, err := a.names(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if n := Look(filepath.Join(dir, name)); (n.Kind == Directory || n.Kind == Unknown) &&
			!strings.HasPrefix(name, ".") {
			g := readManifest(n.Path)
			g.ID = name
			out = append(out, g)
		}
	}
	return out, nil
}

func (a *Backups) manifest(id string) Backup {
	g := readManifest(a.entry(id))
	g.ID = id
	return g
}

// readManifest returns the backup in dir without its ID.
func readManifest(dir string) Backup {
	n := Read(filepath.Join(dir, ManifestName), 1<<20)
	g := Backup{}
	if n.Err != nil && !errors.Is(n.Err, ErrNotRegular) && !errors.Is(n.Err, ErrTooLarge) {
		return Backup{Err: n.Err, Reason: "its manifest could not be read"}
	}
	if n.Kind == Missing || n.Err != nil || json.Unmarshal(n.Data, &g) != nil || g.Version != 1 {
		return Backup{Damaged: true, Reason: "no manifest"}
	}
	return g
}

// Load reads a backup and checks the digest of every file. It leaves out files that were deleted from it.
func (a *Backups) Load(id string) (Backup, []Item, error) {
	there := Look(a.entry(id))
	if there.Unread() {
		return Backup{}, nil, there.Err
	}
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") || !there.IsDir {
		return Backup{}, nil, fmt.Errorf("%s: there is no backup %q", a.dir, id)
	}
	g := a.manifest(id)
	if g.Err != nil {
		return g, nil, g.Err
	}
	if g.Damaged {
		return g, nil, fmt.Errorf("%s: has no readable manifest", a.entry(id))
	}
	var items []Item
	for _, f := range g.Files {
		it := Item{Name: f.Name, LinkTo: f.LinkTo, Mode: fs.FileMode(f.Mode).Perm(), Foreign: g.Foreign,
			Secret: f.Secret}
		if f.Deleted {
			continue
		}
		if f.LinkTo == "" {
			n := Read(a.file(id, f.Name), maxStaged)
			if n.Kind == Missing {
				return g, nil, fmt.Errorf("%s: is missing", n.Path)
			}
			if n.Err != nil {
				return g, nil, n.Err
			}
			if hexSum(n.Data) != f.SHA256 {
				return g, nil, fmt.Errorf("%s: differs from what was backed up (its digest is another)", n.Path)
			}
			it.Data = n.Data
		}
		items = append(items, it)
	}
	return g, items, nil
}

// Remove deletes a backup that has only files of mailcertd, its manifest last, so that an interrupted Remove can be
// repeated. The error is ErrForeign for any other backup.
func (a *Backups) Remove(id string) error {
	g, dir := a.manifest(id), a.entry(id)
	if g.Err != nil {
		return g.Err
	}
	if names, err := Names(dir, 1); err == nil && len(names) == 0 { // a crash before the rmdir of an earlier Remove
		if err := a.disk.Remove(dir); err != nil {
			return err
		}
		return a.disk.SyncDir(filepath.Dir(dir))
	}
	if g.Foreign || g.Damaged {
		return fmt.Errorf("%s: %w", dir, ErrForeign)
	}
	for _, f := range g.Files {
		if err := a.disk.Remove(a.file(id, f.Name)); err != nil {
			return err
		}
	}
	if err := a.disk.SyncDir(dir); err != nil { // otherwise a power failure may leave files without a manifest
		return err
	}
	for _, name := range []string{TempName(ManifestName), ManifestName} { // a crash in DropItem leaves the first
		if err := a.disk.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := a.disk.Remove(dir); err != nil {
		return err
	}
	return a.disk.SyncDir(filepath.Dir(dir))
}

// DropItem deletes one file, such as a replaced key, from a backup that has only files of mailcertd. The manifest still
// names it. It is no error if the file is missing.
func (a *Backups) DropItem(id, name string) error {
	if n := Look(a.entry(id)); !n.IsDir {
		return n.Err
	}
	g := a.manifest(id)
	if g.Err != nil {
		return g.Err
	}
	if g.Foreign || g.Damaged {
		return fmt.Errorf("%s: %w", a.entry(id), ErrForeign)
	}
	for i := range g.Files {
		if g.Files[i].Name == name {
			g.Files[i].Deleted = true
		}
	}
	if err := a.disk.Remove(a.file(id, name)); err != nil {
		return err
	}
	return a.writeManifest(g)
}
