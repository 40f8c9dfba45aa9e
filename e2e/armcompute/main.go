// Drives an Azure through a disk's life with Microsoft's own Go client and its poller, and says at each step whether the
// answer is what that client makes of it.
//
//	armcompute [-poll 1s] <base address> <VM> [<subscription> <resource group>]
//
// One line for each step, exit code 1 at the first difference. The VM must be there; nothing is left behind. It is the
// client of the Go driver: what it can't do here, that driver can't either. Where an answer has no Retry-After it
// would poll every 30 s, hence the flag.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	compute "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
)

const (
	location = "eastus2"
	disk     = "go-disk"
	snapshot = "go-snapshot"
)

// anyone is a credential that every emulator takes.
type anyone struct{}

func (anyone) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "go", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// world is where everything happens.
type world struct {
	group, vm, diskID string
	poll              time.Duration
	disks             *compute.DisksClient
	snapshots         *compute.SnapshotsClient
	vms               *compute.VirtualMachinesClient
}

// ended follows an operation with the module's poller.
func ended[T any](ctx context.Context, w *world, poller *runtime.Poller[T], err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: w.poll})
}

// same is nil if what was seen is what was wanted.
func same[T comparable](what string, seen *T, wanted T) error {
	if seen == nil {
		return fmt.Errorf("%s is absent instead of %v", what, wanted)
	}
	if *seen != wanted {
		return fmt.Errorf("%s is %v instead of %v", what, *seen, wanted)
	}
	return nil
}

// refused is nil if err is Azure's refusal of this status and code.
func refused(err error, status int, code string) error {
	var refusal *azcore.ResponseError
	if !errors.As(err, &refusal) {
		return fmt.Errorf("no refusal: %v", err)
	}
	return errors.Join(same("status", &refusal.StatusCode, status), same("code", &refusal.ErrorCode, code))
}

func (w *world) create(ctx context.Context) error {
	poller, err := w.disks.BeginCreateOrUpdate(ctx, w.group, disk, compute.Disk{
		Location: to.Ptr(location),
		SKU:      &compute.DiskSKU{Name: to.Ptr(compute.DiskStorageAccountTypesPremiumLRS)},
		Properties: &compute.DiskProperties{
			CreationData: &compute.CreationData{CreateOption: to.Ptr(compute.DiskCreateOptionEmpty)},
			DiskSizeGB:   to.Ptr[int32](8),
		},
	}, nil)
	made, err := ended(ctx, w, poller, err)
	if err != nil {
		return err
	}
	if made.ID == nil || made.Properties == nil {
		return errors.New("the result has no id or no properties")
	}
	w.diskID = *made.ID
	return same("provisioningState", made.Properties.ProvisioningState, "Succeeded")
}

// diskIs reads the disk: its state, whether our VM has it, its size.
func (w *world) diskIs(ctx context.Context, state compute.DiskState, isOurs bool, gib int32) error {
	seen, err := w.disks.Get(ctx, w.group, disk, nil)
	if err != nil {
		return err
	}
	if owner := seen.ManagedBy; (owner != nil && strings.HasSuffix(*owner, "/"+w.vm)) != isOurs {
		return fmt.Errorf("managedBy is %v", owner)
	}
	return errors.Join(
		same("diskState", seen.Properties.DiskState, state), same("size", seen.Properties.DiskSizeGB, gib))
}

// dataDisks reads the VM's list.
func (w *world) dataDisks(ctx context.Context) ([]*compute.DataDisk, error) {
	seen, err := w.vms.Get(ctx, w.group, w.vm, nil)
	if err != nil {
		return nil, err
	}
	return seen.Properties.StorageProfile.DataDisks, nil
}

// hasAt tells whether the VM has the disk, and no other, at a LUN; -1 for none.
func (w *world) hasAt(ctx context.Context, lun int32) error {
	disks, err := w.dataDisks(ctx)
	if err != nil || (lun < 0 && len(disks) == 0) {
		return err
	}
	if lun < 0 || len(disks) != 1 {
		return fmt.Errorf("the VM has %d data disks", len(disks))
	}
	if id := *disks[0].ManagedDisk.ID; !strings.EqualFold(id, w.diskID) {
		return fmt.Errorf("the VM has %s", id)
	}
	return same("lun", disks[0].Lun, lun)
}

// put writes the VM's whole list of data disks, as the Go driver does.
func (w *world) put(ctx context.Context, disks ...*compute.DataDisk) error {
	poller, err := w.vms.BeginCreateOrUpdate(ctx, w.group, w.vm, compute.VirtualMachine{
		Location:   to.Ptr(location),
		Properties: &compute.VirtualMachineProperties{StorageProfile: &compute.StorageProfile{DataDisks: disks}},
	}, nil)
	_, err = ended(ctx, w, poller, err)
	return err
}

func (w *world) listed(lun int32, leaves bool) *compute.DataDisk {
	return &compute.DataDisk{
		Lun: &lun, Name: to.Ptr(disk), CreateOption: to.Ptr(compute.DiskCreateOptionTypesAttach),
		Caching: to.Ptr(compute.CachingTypesReadOnly), ToBeDetached: &leaves,
		ManagedDisk: &compute.ManagedDiskParameters{ID: &w.diskID},
	}
}

func (w *world) delta(ctx context.Context, request compute.AttachDetachDataDisksRequest) error {
	poller, err := w.vms.BeginAttachDetachDataDisks(ctx, w.group, w.vm, request, nil)
	_, err = ended(ctx, w, poller, err)
	return err
}

func (w *world) resize(ctx context.Context, gib int32) error {
	change := compute.DiskUpdate{Properties: &compute.DiskUpdateProperties{DiskSizeGB: &gib}}
	poller, err := w.disks.BeginUpdate(ctx, w.group, disk, change, nil)
	changed, err := ended(ctx, w, poller, err)
	if err != nil {
		return err
	}
	return same("size", changed.Properties.DiskSizeGB, gib)
}

func (w *world) snap(ctx context.Context) error {
	poller, err := w.snapshots.BeginCreateOrUpdate(ctx, w.group, snapshot, compute.Snapshot{
		Location: to.Ptr(location),
		Properties: &compute.SnapshotProperties{
			CreationData: &compute.CreationData{
				CreateOption: to.Ptr(compute.DiskCreateOptionCopy), SourceResourceID: &w.diskID,
			},
			Incremental: to.Ptr(true),
		},
	}, nil)
	made, err := ended(ctx, w, poller, err)
	if err != nil {
		return err
	}
	return errors.Join(
		same("size", made.Properties.DiskSizeGB, 16), same("incremental", made.Properties.Incremental, true))
}

// inList counts our disk in the group's list, page by page.
func (w *world) inList(ctx context.Context, wanted int) error {
	found := 0
	for pages := w.disks.NewListByResourceGroupPager(w.group, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, seen := range page.Value {
			if strings.EqualFold(*seen.ID, w.diskID) {
				found++
			}
		}
	}
	return same("count", &found, wanted)
}

func (w *world) run(ctx context.Context) (int, error) {
	attach := []*compute.DataDisksToAttach{{DiskID: &w.diskID, Lun: to.Ptr[int32](3)}}
	detach := []*compute.DataDisksToDetach{{DiskID: &w.diskID}}
	steps := []struct {
		what string
		does func() error
	}{
		{"create a disk", func() error { return w.create(ctx) }},
		{"it is free", func() error { return w.diskIs(ctx, compute.DiskStateUnattached, false, 8) }},
		{"it is in the list", func() error { return w.inList(ctx, 1) }},
		{"attach by a PUT of the VM", func() error { return w.put(ctx, w.listed(0, false)) }},
		{"the VM has it", func() error { return w.hasAt(ctx, 0) }},
		{"it has the VM", func() error { return w.diskIs(ctx, compute.DiskStateAttached, true, 8) }},
		{"an attached disk is not deleted", func() error {
			poller, err := w.disks.BeginDelete(ctx, w.group, disk, nil)
			_, err = ended(ctx, w, poller, err)
			return refused(err, http.StatusConflict, "OperationNotAllowed")
		}},
		{"detach by a PUT of the VM", func() error { return w.put(ctx, w.listed(0, true)) }},
		{"the VM has none", func() error { return w.hasAt(ctx, -1) }},
		{"attach by attachDetachDataDisks", func() error {
			return w.delta(ctx, compute.AttachDetachDataDisksRequest{DataDisksToAttach: attach})
		}},
		{"the VM has it at the other LUN", func() error { return w.hasAt(ctx, 3) }},
		{"resize it while it is attached", func() error { return w.resize(ctx, 16) }},
		{"it has its new size and its VM", func() error { return w.diskIs(ctx, compute.DiskStateAttached, true, 16) }},
		{"detach by attachDetachDataDisks", func() error {
			return w.delta(ctx, compute.AttachDetachDataDisksRequest{DataDisksToDetach: detach})
		}},
		{"it is free again", func() error { return w.diskIs(ctx, compute.DiskStateUnattached, false, 16) }},
		{"take a snapshot", func() error { return w.snap(ctx) }},
		{"delete the snapshot", func() error {
			poller, err := w.snapshots.BeginDelete(ctx, w.group, snapshot, nil)
			_, err = ended(ctx, w, poller, err)
			return err
		}},
		{"delete the disk, and once more", func() error {
			for range 2 {
				poller, err := w.disks.BeginDelete(ctx, w.group, disk, nil)
				if _, err = ended(ctx, w, poller, err); err != nil {
					return err
				}
			}
			return nil
		}},
		{"it is not there", func() error {
			_, err := w.disks.Get(ctx, w.group, disk, nil)
			return refused(err, http.StatusNotFound, "ResourceNotFound")
		}},
		{"nor in the list", func() error { return w.inList(ctx, 0) }},
	}
	for _, step := range steps {
		if err := step.does(); err != nil {
			return 0, fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Println("ok ", step.what)
	}
	return len(steps), nil
}

// connect makes the module's clients for an address that stands for Azure.
func connect(address, subscription string, w *world) error {
	options := &arm.ClientOptions{ClientOptions: policy.ClientOptions{
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: address,
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: address, Audience: "https://management.azure.com/"},
			},
		},
		InsecureAllowCredentialWithHTTP: true,
	}, DisableRPRegistration: true}
	factory, err := compute.NewClientFactory(subscription, anyone{}, options)
	if err != nil {
		return err
	}
	w.disks, w.snapshots, w.vms =
		factory.NewDisksClient(), factory.NewSnapshotsClient(), factory.NewVirtualMachinesClient()
	return nil
}

func main() {
	poll := flag.Duration("poll", time.Second, "how often to poll where Azure names no time; at least 1s")
	limit := flag.Duration("limit", 10*time.Minute, "how long all of it may take")
	flag.Parse()
	arguments := flag.Args()
	if len(arguments) == 2 {
		arguments = append(arguments, "5ab5c71b-0000-4000-8000-000000000001", "rg")
	}
	if len(arguments) != 4 {
		fmt.Fprintln(os.Stderr, "usage: armcompute [-poll 1s] <base address> <VM> [<subscription> <resource group>]")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	w := &world{vm: arguments[1], group: arguments[3], poll: *poll}
	steps, err := 0, connect(arguments[0], arguments[2], w)
	if err == nil {
		steps, err = w.run(ctx)
	}
	if err != nil {
		fmt.Println("DIFFERENCE:", err)
		os.Exit(1)
	}
	fmt.Println(steps, "steps, no difference")
}
