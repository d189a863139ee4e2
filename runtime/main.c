/* main.c: the produced executable's main, alone so that tests can link everything else. */
#include "runtime/sn.h"

int main(int argc, char **argv)
{
	return sn_main(argc, argv);
}
