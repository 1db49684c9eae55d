package plan

// Class says whether a failed action may delay others.
type Class int

// The classes: essential actions bring back, renew and deliver what sendmail serves, and
// their failure stops what needs them. Chores come after them, and their failure stops nothing.
const (
	Chore Class = iota
	Essential
)

func (c Class) String() string { return [...]string{"chore", "essential"}[c] }

// classes lists the kinds of actions in the order of a plan, each with its class.
var classes = []struct {
	kind  Kind
	class Class
}{
	{Recover, Essential},
	{MakeDir, Essential},
	{Chmod, Essential},
	{Chown, Essential},
	{InitCA, Essential},
	{RedateCA, Essential},
	{AcceptCA, Essential},
	{StageKey, Essential},
	{Obtain, Essential},
	{Install, Essential},
	{ReconcileCA, Chore}, // each step that signs repairs what it needs
	{NextCA, Chore},
	{PromoteCA, Chore},
	{PruneCA, Chore},
	{WriteCRL, Chore},
	{MakeInbox, Chore},
	{Answer, Chore},
	{Unstage, Chore},
	{PruneBackup, Chore},
	{DeleteOldKey, Chore},
	{Clear, Chore},
	{MoveBackups, Chore}, // after Clear, whose paths may be in the former directory
}

// Class is the class of the action.
func (a Action) Class() Class {
	if a.Extra || a.Reason == ModeLoose {
		return Chore // for example files in trust/, or the mode of a directory that sendmail does not read
	}
	for _, c := range classes {
		if c.kind == a.Kind {
			return c.class
		}
	}
	return Chore
}

// order is the position of the action in a plan: essential ones come first.
func (a Action) order() int {
	place := len(classes)
	for i, c := range classes {
		if c.kind == a.Kind {
			place = i
		}
	}
	if a.Class() == Chore {
		place += len(classes) + 1
	}
	return place
}

// Needs reports whether the action depends on one of the failed kind.
func (a Action) Needs(failed Kind) bool {
	switch failed {
	case MakeDir, InitCA, AcceptCA, StageKey, Obtain:
		return a.Kind == InitCA || a.Kind == StageKey || a.Kind == Obtain || a.Kind == Install && !a.Extra
	case Recover:
		return true
	}
	return false
}
