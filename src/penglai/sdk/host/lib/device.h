/* The device, for the files of this library. */
#ifndef PENGLAI_DEVICE_H
#define PENGLAI_DEVICE_H

/* Opens the device; a file descriptor, or -1 with errno. */
int penglai_open(void);

/* An ioctl that belongs to no enclave, on a descriptor that the process keeps; its result, or -1 with errno. */
int penglai_call(unsigned int request, void *param);

#endif
