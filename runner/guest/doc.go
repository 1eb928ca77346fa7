// Package guest is what a host and its guest kernel have in common, whichever
// engine boots it: the protocol that they speak, the initial file system that
// the guest starts from, and the host's side of a run, a Session.
//
// The README beside this file describes the protocol.
package guest
