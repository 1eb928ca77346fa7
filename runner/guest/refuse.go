package guest

import "hutch/runner"

// Refuse says what a Spec asks for that no guest can do.
func Refuse(s *runner.Spec) error {
	if s.Network == runner.NetworkHost {
		return &runner.Error{Stage: runner.StageStart, Step: "network host: a guest is not on the host's network", Hint: "use --net none, or --engine native"}
	}
	return nil
}
