package ram

import (
	"context"
	"errors"
	"slices"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// MFADevices are the virtual MFA devices that a user has bound. Once one is unbound,
// RAM does not tell whose it was.
type MFADevices struct {
	Known []string                                       // serial numbers of what an earlier try has unbound, or was about to
	Note  func(ctx context.Context, serial string) error // has the next try know a device that is about to be unbound; nil: there is none
	Left  func(serial string, refusal error)             // is told of one that RAM will not delete, however often it is asked; nil: nobody is
}

// removeMFADevices takes the device away that the user signs in with. A virtual one is
// of no use to anybody else and counts against a quota, so it is deleted where the
// client may do that, with those that earlier tries have left.
func (c *Client) removeMFADevices(ctx context.Context, user Entity, devices MFADevices) error {
	serials := slices.Clone(devices.Known)
	bound, err := c.mfaDevice(ctx, "GetUserMFAInfo", user)
	switch {
	case Denied(err): // UnbindMFADevice tells it too, unless its answer is lost
	case err != nil:
		return err
	case bound != "" && !slices.Contains(serials, bound):
		if devices.Note != nil {
			if err := devices.Note(ctx, bound); err != nil {
				return err
			}
		}
		serials = append(serials, bound)
	}
	unbound, err := c.mfaDevice(ctx, "UnbindMFADevice", user)
	if err != nil {
		return err
	}
	if unbound != "" && !slices.Contains(serials, unbound) {
		serials = append(serials, unbound)
	}
	var w Wave
	for _, serial := range serials {
		w.Add(func() error { return c.deleteMFADevice(ctx, serial, devices.Left) })
	}
	return w.Run()
}

// mfaDevice makes a call that answers the device of the user: its serial number, ""
// where there is none.
func (c *Client) mfaDevice(ctx context.Context, action string, user Entity) (serial string, err error) {
	var out struct{ MFADevice struct{ SerialNumber string } }
	err = gone(c.Call(ctx, true, action, user.params(), &out))
	return out.MFADevice.SerialNumber, err
}

// deleteMFADevice deletes a device that is unbound. Nobody signs in with it any longer:
// a refusal for good, as of what is no virtual device, keeps no user alive.
func (c *Client) deleteMFADevice(ctx context.Context, serial string, left func(string, error)) error {
	err := c.remove(ctx, Origin{}, removal{
		what: "MFA device " + serial, absent: "EntityNotExist.VirtualMFADevice",
		delete: func(ctx context.Context) error {
			return c.Call(ctx, true, "DeleteVirtualMFADevice", map[string]string{"SerialNumber": serial}, nil)
		},
	})
	refused, answered := errors.AsType[*openapi.Error](err)
	if !answered || refused.Temporary() || openapi.Ambiguous(err) || refused.KeyRefused() || refused.TokenRefused() {
		return err
	}
	if left != nil && !refused.NotExist() {
		left(serial, err)
	}
	return nil
}
